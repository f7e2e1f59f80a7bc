// Runs aggregated over seeds, as kdbench.report.leaderboard does; the tests compare the two.
import tCdf from "@stdlib/stats-base-dists-t-cdf";
import type { Data } from "./data";

export interface Aggregate {
  row: number; n: number; total: number; statuses: Record<string, number>;
  mean: number | null; half: number | null; std: number | null;
  difference: number | null; differenceHalf: number | null; pairs: number; better: boolean | null; worse: boolean | null;
  p: number | null; holm: number | null; effect: number | null;
  kdDifference: number | null; kdHalf: number | null; gap: number | null; rank: number | null;
  metrics: Record<string, number | null>; costs: Record<string, number | null>;
}
interface Interval { n: number; mean: number; std: number | null; half: number | null }

const ROUNDING = 1e-12;

/** Every row, by the metric of its board. */
export function aggregate(data: Data, metricOf: (board: number) => string, seeds: Set<number> | null): Aggregate[] {
  const { runs, rows, starts } = data;
  const chosen = (run: number) => seeds === null || seeds.has(runs.seed[run]);
  const scores = rows.map(({ board }, row) => {
    const values = runs.metrics[metricOf(board)] ?? [];
    const found = new Map<number, number>();
    for (let run = starts[row]; run < starts[row + 1]; run++) {
      const value = values[run];
      if (runs.status[run] === "ok" && value != null && chosen(run)) found.set(place(data, run), value);
    }
    return found;
  });
  const higher = (board: number) => data.metrics[metricOf(board)]?.higher ?? true;
  const found = rows.map(({ board }, row) => one(data, metricOf(board), row, scores, chosen, higher(board)));
  byBoard(data, found).forEach((members, board) => {
    correct(members);
    rank(members, higher(board));
  });
  return found;
}

function one(
  data: Data, metric: string, row: number, scores: Map<number, number>[], chosen: (run: number) => boolean, higher: boolean,
): Aggregate {
  const { runs, rows, starts, boards } = data;
  const { base, ref, board } = rows[row];
  const members: number[] = [];
  for (let run = starts[row]; run < starts[row + 1]; run++) if (chosen(run)) members.push(run);
  const done = members.filter((run) => runs.status[run] === "ok");
  const statuses: Record<string, number> = {};
  for (const run of members) if (runs.status[run] !== "ok") statuses[runs.status[run]] = (statuses[runs.status[run]] ?? 0) + 1;
  const own = interval(data, [...scores[row].values()]);
  const difference = paired(data, scores[row], base === null || base === row ? null : scores[base]);
  const fromKd = paired(data, scores[row], ref === null || ref === row ? null : scores[ref]);
  let better: boolean | null = null, worse: boolean | null = null;
  let p: number | null = null, effect: number | null = null;
  if (difference?.half != null && !(difference.std === 0 && difference.mean !== 0)) {
    const [above, below] = [difference.mean - difference.half > 0, difference.mean + difference.half < 0];
    [better, worse] = higher ? [above, below] : [below, above];
  }
  if (difference?.std) {
    const t = difference.mean / (difference.std / Math.sqrt(difference.n));
    p = 2 * tCdf(-Math.abs(t), difference.n - 1);
    effect = difference.mean / difference.std;
  }
  const teachers = boards[board].teachers[metric] ?? [];
  return {
    row, n: scores[row].size, total: members.length, statuses,
    mean: own?.mean ?? null, half: own?.half ?? null, std: own?.std ?? null,
    difference: difference?.mean ?? null, differenceHalf: difference?.half ?? null, pairs: difference?.n ?? 0,
    better, worse, p, holm: null, effect, kdDifference: fromKd?.mean ?? null, kdHalf: fromKd?.half ?? null,
    gap: gapRecovered(difference, base === null ? null : interval(data, [...scores[base].values()]), teachers, higher),
    rank: null,
    metrics: Object.fromEntries(Object.entries(runs.metrics).map(([name, all]) => [name, mean(pick(all, done))])),
    costs: Object.fromEntries(Object.entries(runs.costs).map(([name, all]) => [name, median(pick(all, done))])),
  };
}

/** Seed and fold as one number. */
const place = (data: Data, run: number) => data.runs.seed[run] * 1000 + (data.runs.fold[run] ?? -1) + 1;

function pick(all: (number | null)[], runs: number[]): number[] {
  const found: number[] = [];
  for (const run of runs) if (all[run] != null) found.push(all[run]!);
  return found;
}

const mean = (values: number[]) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);

export function median(values: number[]): number | null {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function interval(data: Data, values: number[], size = Math.max(...values.map(Math.abs), 0)): Interval | null {
  const n = values.length;
  if (n === 0) return null;
  const middle = mean(values)!;
  if (n === 1) return { n, mean: middle, std: null, half: null };
  let std = Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (n - 1));
  if (std <= ROUNDING * size) std = 0;
  return { n, mean: middle, std, half: (data.t[n - 2] * std) / Math.sqrt(n) };
}

function paired(data: Data, first: Map<number, number>, second: Map<number, number> | null): Interval | null {
  if (second === null) return null;
  const differences: number[] = [];
  let size = 0;
  for (const [at, value] of first) {
    const other = second.get(at);
    if (other === undefined) continue;
    differences.push(value - other);
    size = Math.max(size, Math.abs(value), Math.abs(other));
  }
  const found = interval(data, differences, size);
  if (found?.std === 0 && Math.abs(found.mean) <= ROUNDING * size) found.mean = 0;
  return found;
}

function gapRecovered(difference: Interval | null, base: Interval | null, teachers: number[], higher: boolean): number | null {
  const teacher = mean(teachers);
  if (difference === null || base === null || base.half === null || teacher === null) return null;
  const gap = teacher - base.mean;
  return (higher ? gap : -gap) <= base.half ? null : difference.mean / gap;
}

function byBoard(data: Data, all: Aggregate[]): Aggregate[][] {
  const found: Aggregate[][] = data.boards.map(() => []);
  for (const each of all) found[data.rows[each.row].board].push(each);
  return found;
}

/** Holm's step-down correction over the rows of a board that have a p-value. */
function correct(members: Aggregate[]): void {
  const tested = members.filter((each) => each.p !== null).sort((a, b) => a.p! - b.p!);
  let greatest = 0;
  tested.forEach((each, step) => {
    greatest = Math.max(greatest, Math.min(1, (tested.length - step) * each.p!));
    each.holm = greatest;
  });
}

function rank(members: Aggregate[], higher: boolean): void {
  const rounded = (each: Aggregate) => Number(each.mean!.toFixed(12));
  const ranked = members.filter((each) => each.mean !== null);
  ranked.sort((a, b) => (higher ? rounded(b) - rounded(a) : rounded(a) - rounded(b)));
  ranked.forEach((each, at) => {
    const before = ranked[at - 1];
    each.rank = before && rounded(before) === rounded(each) ? before.rank : at + 1;
  });
}
