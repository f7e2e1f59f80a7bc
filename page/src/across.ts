// Methods compared over boards, as kdbench.report.across does; the tests compare the two.
import chiCdf from "@stdlib/stats-base-dists-chisquare-cdf";
import type { Aggregate } from "./aggregate";
import { interval } from "./aggregate";
import type { Data } from "./data";

export interface Standing { method: string; rank: number; wins: number; ties: number; losses: number; gap: number | null; gapHalf: number | null; gapBoards: number }
export interface Across {
  boards: number[]; standings: Standing[]; friedman: number | null; p: number | null; distance: number | null; tooFew: string | null;
}
const LEAST_BOARDS = 5, LEAST_METHODS = 3;

export function across(data: Data, all: Aggregate[], higher: boolean): Across | null {
  const tables = data.boards.map((_, board) => ({ board, rows: named(data, all.filter((a) => data.rows[a.row].board === board)) }));
  const [methods, chosen] = complete(tables);
  if (chosen.length < 2 || methods.length < 2) return null;
  const scores = chosen.map(({ rows }) => methods.map((name) => rows.get(name)!.mean!));
  const ranks = scores.map((line) => ranked(line, higher));
  const average = methods.map((_, m) => ranks.reduce((sum, line) => sum + line[m], 0) / ranks.length);
  const base = methods.indexOf(data.baseline);
  const standings = methods.map((method, m) => {
    const gaps = chosen.map(({ rows }) => rows.get(method)!.gap).filter((gap) => gap !== null);
    const share = interval(data, gaps);
    let wins = 0, ties = 0, losses = 0;
    if (base >= 0) for (const line of scores) {
      const lead = (line[m] - line[base]) * (higher ? 1 : -1);
      if (Math.abs(lead) <= 1e-12) ties++;
      else if (lead > 0) wins++;
      else losses++;
    }
    return { method, rank: average[m], wins, ties, losses, gap: share?.mean ?? null, gapHalf: share?.half ?? null, gapBoards: gaps.length };
  });
  standings.sort((a, b) => a.rank - b.rank || (a.method < b.method ? -1 : 1));
  const [N, k] = [chosen.length, methods.length];
  const tooFew = k < LEAST_METHODS
    ? `${k} methods on the same datasets: ranks are compared from ${LEAST_METHODS} methods on`
    : N < LEAST_BOARDS ? `${N} datasets with the same methods: too few to conclude, from ${LEAST_BOARDS} on` : null;
  const friedman = k < 3 ? null : chiSquare(ranks, average);
  const q = data.q[k - 2];
  return {
    boards: chosen.map(({ board }) => board), standings, friedman, p: friedman === null ? null : 1 - chiCdf(friedman, k - 1),
    distance: tooFew || q === undefined ? null : q * Math.sqrt((k * (k + 1)) / (6 * N)), tooFew,
  };
}

function chiSquare(ranks: number[][], average: number[]): number {
  const [N, k] = [ranks.length, average.length];
  let ties = 0;
  for (const line of ranks) for (const rank of new Set(line)) {
    const equal = line.filter((each) => each === rank).length;
    ties += equal * (equal * equal - 1);
  }
  const correction = 1 - ties / (k * (k * k - 1) * N);
  const sum = average.reduce((total, rank) => total + (rank * N) ** 2, 0);
  return correction === 0 ? 0 : ((12 / (k * N * (k + 1))) * sum - 3 * N * (k + 1)) / correction;
}

function ranked(line: number[], higher: boolean): number[] {
  const order = line.map((_, at) => at).sort((a, b) => (higher ? line[b] - line[a] : line[a] - line[b]));
  const found = new Array<number>(line.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && line[order[end]] === line[order[start]]) end++;
    for (let at = start; at < end; at++) found[order[at]] = (start + end + 1) / 2;
    start = end;
  }
  return found;
}

const settings = (name: string, values: Record<string, unknown>) => {
  const inner = Object.keys(values).sort().map((key) => `${key}=${typeof values[key] === "string" ? values[key] : JSON.stringify(values[key])}`);
  return inner.length ? `${name}(${inner.join(", ")})` : name;
};

/** The rows with a mean, of the board's main recipe, by method; without those of equal names. */
function named(data: Data, members: Aggregate[]): Map<string, Aggregate> {
  const recipe = (each: Aggregate) => settings(data.rows[each.row].recipe, data.rows[each.row].recipe_overrides);
  const counts = new Map<string, number>();
  for (const each of members) counts.set(recipe(each), (counts.get(recipe(each)) ?? 0) + 1);
  const main = [...counts].reduce((a, b) => (b[1] > a[1] || (b[1] === a[1] && b[0] > a[0]) ? b : a), ["", 0])[0];
  const found = new Map<string, Aggregate[]>();
  for (const each of members) {
    if (each.mean === null || recipe(each) !== main) continue;
    const name = settings(data.rows[each.row].method, data.rows[each.row].overrides);
    found.set(name, [...(found.get(name) ?? []), each]);
  }
  return new Map([...found].filter(([, rows]) => rows.length === 1).map(([name, rows]) => [name, rows[0]]));
}

type Table = { board: number; rows: Map<string, Aggregate> };

function complete(tables: Table[]): [string[], Table[]] {
  const counts = new Map<string, number>();
  for (const { rows } of tables) for (const name of rows.keys()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const common = [...counts.keys()].sort((a, b) => counts.get(b)! - counts.get(a)! || (a < b ? -1 : 1));
  let best: [string[], Table[]] = [[], []];
  let having = tables;
  common.forEach((name, at) => {
    having = having.filter(({ rows }) => rows.has(name));
    if (at >= 1 && having.length >= 2 && (at + 1) * having.length > best[0].length * best[1].length) best = [common.slice(0, at + 1), having];
  });
  return best;
}
