// Timings of kernels, from pytest-benchmark: one session, or two side by side.
import { useMemo } from "preact/hooks";
import { timingsPlot } from "./charts";
import type { Benchmark, Data, TimingStats } from "./data";
import { duration, NOTHING, short } from "./format";
import { Figure, Select, Settings, Theme } from "./parts";
import type { Go, State } from "./state";
import { type Column, DataTable } from "./table";

const MOST_FIGURES = 12, MOST_LINES = 40;
const MARKS: Record<string, string> = { faster: "good", slower: "bad" };

export function TimingsView({ data, state, go }: { data: Data; state: State; go: Go }) {
  const { files, benchmarks, differing, tolerance } = data.timings!;
  const two = files.length > 1;
  const start = useMemo(() => common(benchmarks.map((each) => each.name)), [benchmarks]);
  const groups = [...new Set(benchmarks.map((each) => each.group))];
  const rows = useMemo(() => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return benchmarks.filter((each) => (!state.group || each.group === state.group) && words.every((word) => `${each.name} ${each.group}`.toLowerCase().includes(word)));
  }, [benchmarks, state.group, state.q]);
  const label = (each: Benchmark) => short(each.name.slice(start.length), 60);
  const columns = useMemo(() => columnsOf(two, groups.some(Boolean), label), [benchmarks, two]);
  const verdicts = [...new Set(rows.map((each) => each.verdict))].map((verdict) => `${rows.filter((each) => each.verdict === verdict).length} ${verdict}`);
  const byGroup = groups.map((group) => [group, rows.filter((each) => each.group === group)] as const).filter(([, members]) => members.length > 0);
  const letter = (at: number) => (two ? `${"AB"[at]}: ` : "");
  return (
    <>
      <div class="choices inline">
        <div class="field">
          <label for="benchmark">Search benchmarks</label>
          <input type="search" id="benchmark" value={state.q} onInput={(event) => go({ q: event.currentTarget.value, page: "" }, { replace: true })} />
        </div>
        {groups.length > 1 && <Select label="Group" value={state.group} options={[["", "all"], ...groups.filter(Boolean).map((group): [string, string] => [group, short(group, 60)])]} onChange={(group) => go({ group, page: "" })} />}
        <Theme state={state} go={go} />
      </div>
      <p class="lead" role="status">{rows.length.toLocaleString("en")} benchmark{rows.length === 1 ? "" : "s"}{two && rows.length > 0 && `: ${verdicts.join(", ")}`}.</p>
      {start && <p class="lead">All names begin with <code>{short(start, 200)}</code></p>}
      {rows.length === 0 ? <p>No benchmark is like that.</p> : (
        <DataTable label="Timings" columns={columns} rows={rows} rowKey={(row) => row.name} sort={state.sort} onSort={(sort) => go({ sort, page: "" }, { replace: true })}
          page={Number(state.page) || 0} onPage={(page) => go({ page: String(page) }, { replace: true })} />
      )}
      <p class="legend">
        Median of the rounds; quartiles: what a quarter and three quarters of them stay below.
        {two && ` B/A: median of B over that of A. Faster or slower: the middle halves of the rounds do not overlap, and the medians are more than ${Math.round(100 * tolerance)}% apart.`}
      </p>
      {two && <ul class="key">{files.map((file, at) => <li key={at}><Sign at={at} /> {letter(at)}<bdi>{short(file.name, 120)}</bdi></li>)}</ul>}
      <div class="grid">
        {byGroup.slice(0, MOST_FIGURES).map(([group, members]) => (
          <Figure key={group} title={short(group || "Timings", 80)} on={[members, two]} draw={(width) => timingsPlot(width, lines(members, label), two)} describe={described(members, two, label)} />
        ))}
      </div>
      {byGroup.length > MOST_FIGURES && <p class="legend">The first {MOST_FIGURES} of {byGroup.length} groups are drawn: choose one above.</p>}
      {Object.keys(differing).length > 0 && (
        <section>
          <h3>What differs between A and B</h3>
          <ul class="notes">{Object.entries(differing).map(([name, [a, b]]) => <li key={name}>{name}: A <bdi>{short(a || NOTHING, 200)}</bdi>, B <bdi>{short(b || NOTHING, 200)}</bdi></li>)}</ul>
        </section>
      )}
      {files.map((file, at) => <Settings key={at} title={`${letter(at)}${short(file.name, 120)}`} values={{ ...(file.measured && { measured: file.measured }), ...file.conditions }} />)}
    </>
  );
}

function columnsOf(two: boolean, grouped: boolean, label: (row: Benchmark) => string): Column<Benchmark>[] {
  const sides = (two ? ["A", "B"] : [""]).map((side, at) => ({ side, which: side && `${side} `, of: (row: Benchmark) => row.stats[at] }));
  return [
    { id: "name", title: "benchmark", left: true, value: (row) => row.name, cell: (row) => <bdi title={row.name}>{label(row)}</bdi> },
    ...(two ? [
      { id: "verdict", title: "verdict", left: true, value: (row: Benchmark) => row.verdict, cell: (row: Benchmark) => <span class={MARKS[row.verdict!] ?? ""}>{row.verdict}</span> },
      { id: "ratio", title: "B/A", descendingFirst: true, value: (row: Benchmark) => row.ratio, cell: (row: Benchmark) => (row.ratio === null ? NOTHING : `${row.ratio.toFixed(2)}x`) },
    ] : []),
    ...sides.map(({ side, which, of }): Column<Benchmark> => ({ id: `median${side}`, title: `${which}median`, value: (row) => of(row)?.median ?? null, cell: (row) => duration(of(row)?.median ?? null) })),
    ...sides.map(({ side, which, of }): Column<Benchmark> => ({
      id: `spread${side}`, title: `${which}quartiles`, explain: "sorted by the distance between them",
      value: (row) => { const found = of(row); return found && found.q3 - found.q1; }, cell: (row) => quartiles(of(row)),
    })),
    ...sides.map(({ side, which, of }): Column<Benchmark> => ({ id: `rounds${side}`, title: `${which}rounds`, descendingFirst: true, value: (row) => of(row)?.rounds ?? null, cell: (row) => of(row)?.rounds.toLocaleString("en") ?? NOTHING })),
    ...(grouped ? [{ id: "group", title: "group", left: true, value: (row: Benchmark) => row.group, cell: (row: Benchmark) => <bdi title={row.group}>{short(row.group, 40) || NOTHING}</bdi> }] : []),
  ];
}

function quartiles(stats: TimingStats | null): string {
  if (!stats) return NOTHING;
  const [low, high] = [duration(stats.q1), duration(stats.q3)];
  const unit = low.slice(low.indexOf(" "));
  return `${high.endsWith(unit) ? low.slice(0, -unit.length) : low} – ${high}`;
}

export interface Line { label: string; at: number; median: number; q1: number; q3: number }

const lines = (members: Benchmark[], label: (row: Benchmark) => string): Line[] => {
  const seen = new Set<string>();
  return members.slice(0, MOST_LINES).flatMap((row) => {
    let name = label(row);
    while (seen.has(name)) name += "'"; // cut to the same text
    seen.add(name);
    return row.stats.flatMap((stats, at): Line[] => (stats ? [{ label: name, at, ...stats }] : []));
  });
};

function described(members: Benchmark[], two: boolean, label: (row: Benchmark) => string): string {
  const latest = two ? 1 : 0;
  const measured = members.filter((row) => row.stats[latest]).sort((a, b) => a.stats[latest]!.median - b.stats[latest]!.median);
  const first = measured[0] && ` Fastest${two ? " in B" : ""}: ${label(measured[0])}, ${duration(measured[0].stats[latest]!.median)}.`;
  const rest = members.length > MOST_LINES ? ` The first ${MOST_LINES} of ${members.length}.` : "";
  return `Median of the rounds; the line spans their middle half.${first ?? ""}${rest}`;
}

const Sign = ({ at }: { at: number }) => (
  <svg width="14" height="12" aria-hidden="true">
    {at === 0 ? <circle cx="7" cy="6" r="4.5" fill="var(--paper)" stroke="var(--c1)" stroke-width="2" /> : <rect x="3" y="2" width="8" height="8" fill="var(--c2)" />}
  </svg>
);

/** What all names begin with, up to the parameters, the name of the test, or the folder. */
function common(names: string[]): string {
  if (names.length < 2) return "";
  let size = 0;
  while (size < names[0].length && names.every((name) => name[size] === names[0][size])) size++;
  const start = names[0].slice(0, size);
  const test = start.lastIndexOf("::");
  return start.slice(0, Math.max(start.lastIndexOf("["), test < 0 ? 0 : test + 2, start.lastIndexOf("/") + 1));
}
