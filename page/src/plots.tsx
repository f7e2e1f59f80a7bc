// The views that compare rows as pictures.
import { useEffect, useMemo, useState } from "preact/hooks";
import { across } from "./across";
import type { Aggregate } from "./aggregate";
import { type Band, color, type Difference, forest, learning, pareto, ranksPlot } from "./charts";
import { baseOf, type Data, type Details } from "./data";
import { COSTS, metricTitle, probability, share, short } from "./format";
import { Checks, Figure, Select } from "./parts";
import { rowAddress, type Shared, theBoard } from "./shared";
import { address } from "./state";

const MOST = 60;

/** The rows of the one board that is shown, and a line that says which. */
function useOneBoard(shared: Shared) {
  const { data, rows } = shared;
  const board = theBoard(shared);
  const members = useMemo(() => rows.filter((row) => data.rows[row.row].board === board), [rows, board]);
  const others = new Set(rows.map((row) => data.rows[row.row].board)).size - 1;
  const line = board === null ? <p>No row is like that.</p> : (
    <p class="lead"><bdi>{short(data.boards[board].title, 200)}</bdi>{others > 0 && ` (one of ${others + 1}: choose a dataset and a pair above)`}</p>
  );
  return { board, members, line, metric: board === null ? shared.metric : shared.metricOf(board) };
}

export function Differences(shared: Shared) {
  const { data } = shared;
  const { members, line, metric } = useOneBoard(shared);
  const percent = data.metrics[metric]?.percent ? 100 : 1;
  const higher = data.metrics[metric]?.higher ?? true;
  const compared = members.filter((row) => row.difference !== null && row.differenceHalf !== null);
  const found: Difference[] = [...compared]
    .sort((a, b) => (higher ? b.difference! - a.difference! : a.difference! - b.difference!))
    .slice(0, MOST)
    .map((row) => ({
      label: short(data.rows[row.row].label, 44), mean: percent * row.difference!, low: percent * (row.difference! - row.differenceHalf!),
      high: percent * (row.difference! + row.differenceHalf!), sure: row.holm !== null && row.holm < 0.05, better: row.better === true,
    }));
  const bases = [...new Set(compared.map((row) => short(baseOf(data, row.row), 40)))];
  const title = `Δ ${metricTitle(data, metric)} from ${bases.length > 1 ? "the undistilled row that was given the same" : (bases[0] ?? data.baseline)}`;
  return (
    <>
      {line}
      {found.length === 0 ? <p>There is no paired difference with an interval: it takes two seeds of a method and of {data.baseline} with the same recipe.</p> : (
        <Figure title={title} on={[members, metric]} draw={(width) => forest(width, unique(found), `${title} →`)}
          describe={`Mean paired difference and its 95% interval, ${higher ? "right" : "left"} of 0 is better. Filled: below 5% also after correction for the number of rows. Best: ${found[0].label}.`} />
      )}
    </>
  );
}

/** Rows of the same label after cutting would fall on one line: they get a number. */
function unique<T extends { label: string }>(rows: T[]): T[] {
  const seen = new Map<string, number>();
  return rows.map((row) => {
    const times = (seen.get(row.label) ?? 0) + 1;
    seen.set(row.label, times);
    return times > 1 ? { ...row, label: `${row.label} (${times})` } : row;
  });
}

export function TradeOff(shared: Shared) {
  const { data, state, go } = shared;
  const { members, line, metric } = useOneBoard(shared);
  const known = Object.keys(COSTS).filter((name) => members.some((row) => row.costs[name] !== null));
  const cost = known.includes(state.cost) ? state.cost : known.includes("train_seconds") ? "train_seconds" : (known[0] ?? "");
  if (!cost) return <>{line}<p>No costs are known.</p></>;
  const { less, title } = COSTS[cost];
  const higher = data.metrics[metric]?.higher ?? true;
  const percent = data.metrics[metric]?.percent ? 100 : 1;
  const usable = members.filter((row) => row.mean !== null && row.costs[cost] !== null);
  const dominates = (a: Aggregate, b: Aggregate) => {
    const quality = (higher ? 1 : -1) * (a.mean! - b.mean!), cheap = (less ? -1 : 1) * (a.costs[cost]! - b.costs[cost]!);
    return quality >= 0 && cheap >= 0 && (quality > 0 || cheap > 0);
  };
  const points = usable.map((row) => ({
    label: data.rows[row.row].label, x: row.costs[cost]!, y: Number((percent * row.mean!).toPrecision(6)), front: !usable.some((other) => dominates(other, row)),
    low: percent * (row.mean! - (row.half ?? 0)), high: percent * (row.mean! + (row.half ?? 0)),
  }));
  const xs = points.map((point) => point.x);
  const log = Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 20;
  const front = points.filter((point) => point.front).map((point) => short(point.label, 40));
  return (
    <>
      {line}
      <div class="choices inline"><Select label="Cost" value={cost} options={known.map((name) => [name, COSTS[name].title])} onChange={(value) => go({ cost: value }, { replace: true })} /></div>
      {points.length === 0 ? <p>No row has both.</p> : (
        <Figure title={`${metricTitle(data, metric)} and ${title}`} on={[members, metric, cost]} draw={(width) => pareto(width, points, title, metricTitle(data, metric), less, log)}
          describe={`Each dot a row; filled: no other row is better in both (the Pareto front): ${front.slice(0, 8).join(", ")}${front.length > 8 ? " and more" : ""}.`} />
      )}
    </>
  );
}

export function Learning(shared: Shared) {
  const { data, state, go } = shared;
  const { members, line } = useOneBoard(shared);
  const [picked, setPicked] = useState<Set<string> | null>(null);
  const ordered = useMemo(() => [...members].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity)), [members]);
  const standard = ordered.filter((row, at) => at < 2 || [data.baseline, data.reference].includes(data.rows[row.row].method)).slice(0, 4);
  const key = (row: Aggregate) => rowAddress(data, row.row);
  const kept = picked ? ordered.filter((row) => picked.has(key(row))) : [];
  const chosen = kept.length ? kept : standard;
  const rows = chosen.map((row) => row.row);
  const details = useDetails(data, rows);
  const names = [...new Set(details.flatMap((found) => Object.values(found).flatMap((run) => Object.keys(run.history))))].filter((name) => name !== "epoch");
  const name = names.includes(state.curve) ? state.curve : names.includes("val_accuracy") ? "val_accuracy" : (names[0] ?? "");
  const bands = chosen.flatMap((row, at) => bandsOf(Object.values(details[at] ?? {}), name, short(data.rows[row.row].label, 44), at));
  return (
    <>
      {line}
      <div class="choices inline">
        {names.length > 0 && <Select label="Curve" value={name} options={names.map((each) => [each, each])} onChange={(curve) => go({ curve }, { replace: true })} />}
        <Checks label="Methods" summary={`${chosen.length} of ${ordered.length}`} options={ordered.slice(0, 100).map((row) => [key(row), short(data.rows[row.row].label, 44)])}
          chosen={new Set(chosen.map(key))} onChange={setPicked} />
      </div>
      {bands.length === 0 ? <p>No history is held for these rows.</p> : (
        <Figure title={`${name} by epoch`} on={[bands.length, name, rows.join(), details]} draw={(width) => learning(width, bands, name)}
          describe={`Mean over the seeds of each method; the band is one standard deviation to either side. ${chosen.map((row) => short(data.rows[row.row].label, 44)).join(", ")}.`}>
          <Legend items={chosen.map((row) => short(data.rows[row.row].label, 44))} />
        </Figure>
      )}
    </>
  );
}

export function Legend({ items }: { items: string[] }) {
  return (
    <ul class="key">
      {items.map((item, at) => (
        <li key={item + at}><svg width="18" height="10" aria-hidden="true"><line x1="0" y1="5" x2="18" y2="5" stroke={color(at)} stroke-width="3" /></svg> <bdi>{item}</bdi></li>
      ))}
    </ul>
  );
}

/** The details of rows, in their order; empty until they are there. While the same rows are read again, as they were. */
export function useDetails(data: Data, rows: number[]): Record<string, Details>[] {
  const [found, setFound] = useState<{ of: string; all: Record<string, Details>[] }>({ of: "", all: [] });
  const of = rows.map((row) => rowAddress(data, row)).join();
  useEffect(() => {
    let current = true;
    Promise.all(rows.map(data.details)).then((all) => {
      if (current && !all.includes(null)) setFound({ of, all: all as Record<string, Details>[] });
    });
    return () => { current = false; };
  }, [data, of]);
  return found.of === of ? found.all : [];
}

/** The mean and one standard deviation to either side, at each epoch that any run has. */
export function bandsOf(runs: Details[], name: string, label: string, at: number): Band[] {
  const values = new Map<number, number[]>();
  for (const { history } of runs) {
    history[name]?.forEach((value, place) => {
      const epoch = history.epoch?.[place] ?? place;
      if (value !== null) values.set(epoch, [...(values.get(epoch) ?? []), value]);
    });
  }
  return [...values].sort(([a], [b]) => a - b).map(([epoch, all]) => {
    const mean = all.reduce((a, b) => a + b, 0) / all.length;
    const deviation = all.length > 1 ? Math.sqrt(all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (all.length - 1)) : 0;
    return { label, epoch, mean, low: mean - deviation, high: mean + deviation, at };
  });
}

export function Datasets(shared: Shared) {
  const { data, state, metric, metricOf, mixed } = shared;
  const rows = useMemo(() => shared.rows.filter((row) => metricOf(data.rows[row.row].board) === metric), [shared.rows, metric]);
  const higher = data.metrics[metric]?.higher ?? true;
  const found = useMemo(() => across(data, rows, higher), [rows, higher]);
  if (found === null) return <p>It takes two leaderboards with two methods in common, of those chosen above.</p>;
  const { standings, distance, friedman, p, tooFew } = found;
  const datasets = new Set(found.boards.map((board) => data.boards[board].dataset)).size;
  return (
    <>
      <p class="lead">
        {standings.length} methods on {found.boards.length} leaderboards of {datasets} dataset{datasets === 1 ? "" : "s"}, by {metricTitle(data, metric)}{mixed && " (choose another metric, or a dataset, above)"}.
        {friedman !== null && ` Friedman χ² = ${friedman.toFixed(2)}, p = ${probability(p)}.`}
        {distance !== null && ` Average ranks differ at 5% from ${distance.toFixed(2)} on (Nemenyi).`}
      </p>
      {tooFew && <p class="warning">{tooFew}.</p>}
      {datasets < found.boards.length && <p class="warning">Several pairs share a dataset: they are not independent, and the tests are optimistic.</p>}
      <Figure title="Average ranks" on={[found]} draw={(width) => ranksPlot(width, { ...found, standings: unique(standings.map((s) => ({ ...s, label: short(s.method, 44) }))).map((s) => ({ ...s, method: s.label })) })}
        describe={`Over the leaderboards, 1 is best: ${standings.slice(0, 5).map((each) => `${short(each.method, 40)} ${each.rank.toFixed(2)}`).join(", ")}.${distance === null ? "" : " Bars join methods that are closer than the critical difference."}`} />
      <div class="scroll" role="region" aria-label="Methods across datasets" tabIndex={0}>
        <table>
          <caption class="hidden">Methods across datasets</caption>
          <thead><tr><th scope="col" class="left">method</th><th scope="col">average rank</th><th scope="col">wins–ties–losses vs {data.baseline}</th><th scope="col">gap recovered (95% CI)</th></tr></thead>
          <tbody>
            {standings.map((each) => (
              <tr key={each.method}>
                <th scope="row" class="left"><bdi>{short(each.method)}</bdi></th>
                <td>{each.rank.toFixed(2)}</td>
                <td>{each.method === data.baseline ? "–" : `${each.wins}–${each.ties}–${each.losses}`}</td>
                <td>{share(each.gap)}{each.gap !== null && each.gapHalf !== null && ` [${share(each.gap - each.gapHalf)}, ${share(each.gap + each.gapHalf)}]`}{each.gapBoards > 0 && ` of ${each.gapBoards}`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <h2>Leaderboards compared</h2>
      <ul class="notes">{found.boards.slice(0, 100).map((board) => <li key={board}><a href={address(state, { view: "", dataset: data.boards[board].dataset, pair: data.boards[board].pair })}><bdi>{short(data.boards[board].title)}</bdi></a></li>)}</ul>
    </>
  );
}
