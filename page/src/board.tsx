// The leaderboard: every number leads to the runs behind it.
import { useMemo } from "preact/hooks";
import type { Aggregate } from "./aggregate";
import { baseOf, type Data } from "./data";
import { COSTS, costText, metricText, metricTitle, NOTHING, probability, share, short } from "./format";
import { Checks } from "./parts";
import { rowAddress, type Shared, useUpdated } from "./shared";
import { address } from "./state";
import { type Column, DataTable } from "./table";

const METRICS = ["accuracy", "f1_macro", "roc_auc", "perplexity", "agreement", "ece"];
const COST_COLUMNS = ["parameters", "inference_samples_per_s", "train_seconds"];
const STANDARD = ["pair", "mean", "n", "difference", "from", "holm", "gap", "rank", ...METRICS, ...COST_COLUMNS];

export function Leaderboard(shared: Shared) {
  const { data, state, go, metric, mixed, rows, boards } = shared;
  const several = boards.length > 1;
  const possible = useMemo(() => columnsOf(shared, several), [several, state, rows]);
  const ordered = useMemo(() => [...rows].sort(boardThenRank(shared)), [rows]);
  const wanted = new Set(state.columns ? state.columns.split(" ") : STANDARD);
  const columns = possible.filter((column) => column.id === "label" || (column.id === "pair" ? several : wanted.has(column.id)));
  const better = rows.filter((row) => row.better).length;
  const sure = rows.filter((row) => row.better && row.holm !== null && row.holm < 0.05).length;
  const board = several || !boards.length ? null : data.boards[boards[0]];
  return (
    <>
      {board && <p class="lead"><bdi>{short(board.title, 200)}</bdi>: <bdi>{short(board.headline, 300)}</bdi></p>}
      <p class="lead" role="status" aria-live={useUpdated(data) ? "off" : "polite"}>
        {rows.length.toLocaleString("en")} row{rows.length === 1 ? "" : "s"}; {better} better than {mixedBase(data, rows) ? "what Δ is from" : data.baseline} at the same seeds
        {better > 0 && `, ${sure} of them also after correction for the number of rows`}.
      </p>
      <Checks label="Columns" summary={`${columns.length} of ${possible.length}`} options={possible.slice(1).map((column) => [column.id, column.title])}
        chosen={wanted} onChange={(next) => go({ columns: [...next].join(" ") || "mean" }, { replace: true })} />
      {rows.length === 0 ? <p>No row is like that. <a href="#">Show all</a>.</p> : (
        <DataTable label="Leaderboard" columns={columns} rows={ordered} rowKey={(row) => rowAddress(data, row.row)} sort={state.sort}
          onSort={(sort) => go({ sort, page: "" }, { replace: true })} page={Number(state.page) || 0} onPage={(page) => go({ page: String(page) }, { replace: true })}
          rowClass={(row) => (row.better ? "better" : row.worse ? "worse" : "")} />
      )}
      <p class="legend">
        {mixed ? "main metric" : metricTitle(data, metric)}: test split, mean ± half-width of the 95% t interval over n runs{mixed ? "" : data.metrics[metric]?.higher === false ? ", lower is better" : ", higher is better"}. Δ: mean difference at the same seeds with its paired 95% interval; ✔ and ✘: that interval lies on the better, or worse, side of 0 (each row by
        itself: by chance alone, one row in 40). p: paired t-test, corrected for the rows of its board (Holm). gap recovered: Δ as a share of teacher − {mixedBase(data, rows) ? "what Δ is from" : data.baseline}.
      </p>
      {board && board.notes.length > 0 && <ul class="notes">{board.notes.map((note) => <li key={note}><bdi>{short(note, 400)}</bdi></li>)}</ul>}
    </>
  );
}

const mixedBase = (data: Data, rows: Aggregate[]) => rows.some((row) => row.difference !== null && baseOf(data, row.row) !== data.baseline);

const boardThenRank = ({ data }: Shared) => (a: Aggregate, b: Aggregate) =>
  data.rows[a.row].board - data.rows[b.row].board || (a.rank ?? Infinity) - (b.rank ?? Infinity) || (data.rows[a.row].label < data.rows[b.row].label ? -1 : 1);

function columnsOf({ data, state, metric, metricOf, mixed, rows }: Shared, several: boolean): Column<Aggregate>[] {
  const higher = mixed || (data.metrics[metric]?.higher ?? true);
  const own = (row: Aggregate) => metricOf(data.rows[row.row].board);
  const to = (row: Aggregate) => address(state, { row: rowAddress(data, row.row) });
  const link = (row: Aggregate, text: string) => (text === NOTHING ? text : <a href={to(row)} tabIndex={-1}>{text}</a>);
  const metrics = [...METRICS, ...Object.keys(data.metrics).filter((name) => !METRICS.includes(name))].filter((name) => (mixed || name !== metric) && data.metrics[name]);
  const mixedBases = mixedBase(data, rows);
  const found: Column<Aggregate>[] = [
    {
      id: "label", title: "method", left: true, value: (row) => data.rows[row.row].label,
      cell: (row) => <a href={to(row)} title={data.rows[row.row].label}><bdi>{short(data.rows[row.row].label)}</bdi></a>,
    },
    { id: "pair", title: "leaderboard", left: true, value: (row) => data.boards[data.rows[row.row].board].title, cell: (row) => <bdi>{short(data.boards[data.rows[row.row].board].title)}</bdi> },
    { id: "family", title: "family", left: true, value: (row) => data.rows[row.row].family, cell: (row) => <bdi>{short(data.rows[row.row].family, 40) || NOTHING}</bdi> },
    { id: "mean", title: mixed ? "main metric" : short(metricTitle(data, metric), 40), descendingFirst: higher, value: (row) => row.mean, cell: (row) => <>{link(row, meanText(data, own(row), row))}{mixed && <span class="unit"> {short(metricTitle(data, own(row)), 20)}</span>}</> },
    { id: "n", title: "n", explain: "runs that the mean is over, of all", value: (row) => row.n, cell: (row) => link(row, row.n === row.total ? String(row.n) : `${row.n}/${row.total}`) },
    { id: "difference", title: mixedBases ? "Δ (95% CI)" : `Δ vs ${short(data.baseline, 20)} (95% CI)`, descendingFirst: higher, value: (row) => row.difference, cell: (row) => <>{link(row, differenceText(data, own(row), row.difference, row.differenceHalf))}{mark(row)}</> },
    { id: "from", title: "Δ from", explain: "the undistilled row that was given the same, where there is one", left: true, value: (row) => (mixedBases && row.difference !== null ? baseOf(data, row.row) : null), cell: (row) => (row.difference === null ? NOTHING : <bdi>{short(baseOf(data, row.row), 40)}</bdi>) },
    { id: "holm", title: "p (Holm)", explain: "paired t-test, corrected for the rows of the board", value: (row) => row.holm, cell: (row) => link(row, probability(row.holm)) },
    { id: "effect", title: "effect size", explain: "Cohen's d of the paired differences", descendingFirst: higher, value: (row) => row.effect, cell: (row) => link(row, row.effect === null ? NOTHING : row.effect.toFixed(2)) },
    { id: "kd", title: `Δ vs ${data.reference} (95% CI)`, descendingFirst: higher, value: (row) => row.kdDifference, cell: (row) => link(row, differenceText(data, own(row), row.kdDifference, row.kdHalf)) },
    { id: "gap", title: "gap recovered", descendingFirst: true, value: (row) => row.gap, cell: (row) => link(row, share(row.gap)) },
    ...metrics.map((name): Column<Aggregate> => ({
      id: name, title: short(metricTitle(data, name), 40), descendingFirst: data.metrics[name].higher, value: (row) => row.metrics[name],
      cell: (row) => link(row, metricText(data, name, row.metrics[name])),
    })),
    ...Object.keys(COSTS).map((name): Column<Aggregate> => ({
      id: name, title: COSTS[name].title, descendingFirst: !COSTS[name].less, value: (row) => row.costs[name], cell: (row) => link(row, costText(name, row.costs[name])),
    })),
    { id: "rank", title: "rank", value: (row) => row.rank, cell: (row) => link(row, row.rank === null ? NOTHING : String(row.rank)) },
  ];
  return found.filter((column) => ["label", "mean", "n"].includes(column.id) || (column.id === "pair" ? several : rows.some((row) => ![null, ""].includes(column.value(row) as null))));
}

const mark = (row: Aggregate) =>
  row.better ? <span class="mark good"><span aria-hidden="true"> ✔</span><span class="hidden">better</span></span>
    : row.worse ? <span class="mark bad"><span aria-hidden="true"> ✘</span><span class="hidden">worse</span></span> : <span class="mark" aria-hidden="true" />;

export function meanText(data: Shared["data"], metric: string, row: Aggregate): string {
  if (row.mean === null) return Object.entries(row.statuses).map(([status, number]) => `${status} (${number})`).join(", ") || NOTHING;
  return metricText(data, metric, row.mean) + (row.half === null ? "" : ` ± ${metricText(data, metric, row.half)}`);
}

export function differenceText(data: Shared["data"], metric: string, difference: number | null, half: number | null): string {
  if (difference === null) return NOTHING;
  const show = (value: number) => metricText(data, metric, value, true);
  return show(difference) + (half === null ? "" : ` [${show(difference - half)}, ${show(difference + half)}]`);
}
