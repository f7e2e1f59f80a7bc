// The charts, as marks of Observable Plot; colours are variables of the page's style, so that they follow its theme.
import * as Plot from "@observablehq/plot";
import type { Across } from "./across";
import type { Curve, Details } from "./data";
import { duration } from "./format";
import type { Line } from "./timings";

const COLORS = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"];
export const color = (at: number) => COLORS[at % COLORS.length];
const base = { className: "plot", style: undefined };

export interface Difference { label: string; mean: number; low: number; high: number; sure: boolean; better: boolean }

export function forest(width: number, rows: Difference[], title: string) {
  const left = Math.min(width * 0.42, 16 + 6.6 * Math.max(...rows.map((row) => row.label.length)));
  return Plot.plot({
    ...base, width, height: 60 + 20 * rows.length, marginLeft: left, marginBottom: 40,
    x: { label: title, grid: true, nice: true }, y: { domain: rows.map((row) => row.label), label: null, tickSize: 0 },
    marks: [
      Plot.ruleX([0], { stroke: "currentColor" }),
      Plot.ruleY(rows, { x1: "low", x2: "high", y: "label", stroke: (row: Difference) => mark(row), strokeWidth: 2 }),
      Plot.dot(rows, {
        x: "mean", y: "label", r: 4.5, stroke: (row: Difference) => mark(row), strokeWidth: 2,
        fill: (row: Difference) => (row.sure ? mark(row) : "var(--paper)"),
      }),
    ],
    color: { type: "identity" },
  });
}
const mark = (row: Difference) => (row.low > 0 || row.high < 0 ? (row.better ? "var(--good)" : "var(--bad)") : "var(--faint)");

/** Medians with the middle half of the rounds, on a log axis; of two files the second is below the first. */
export function timingsPlot(width: number, rows: Line[], two: boolean) {
  const labels = [...new Set(rows.map((row) => row.label))];
  const left = Math.min(width * 0.45, 16 + 6.6 * Math.max(...labels.map((label) => label.length)));
  const most = Math.floor(left / 6.6);
  const sides = (two ? [0, 1] : [0]).map((at) => ({ rows: rows.filter((row) => row.at === at), dy: two ? (at ? 4 : -4) : 0, color: at ? "var(--c2)" : "var(--c1)", symbol: at ? "square" : "circle" } as const));
  const domain = [Math.min(...rows.map((row) => row.q1)) / 1.15, Math.max(...rows.map((row) => row.q3)) * 1.15];
  return Plot.plot({
    ...base, width, height: 56 + (two ? 28 : 22) * labels.length, marginLeft: left, marginBottom: 40, marginRight: 24,
    x: { type: "log", domain, label: "time of a round (log) →", grid: true, ticks: logTicks(domain, (width - left) / 70), tickFormat: shortDuration },
    y: { domain: labels, label: null, tickSize: 0, tickFormat: (label: string) => cut(label, most) },
    marks: sides.flatMap(({ rows: of, dy, color: stroke, symbol }) => [
      Plot.ruleY(of, { x1: "q1", x2: "q3", y: "label", dy, stroke, strokeWidth: 3, strokeOpacity: 0.55 }),
      Plot.dot(of, { x: "median", y: "label", dy, r: 4, symbol, stroke, strokeWidth: 2, fill: symbol === "square" ? stroke : "var(--paper)" }),
    ]),
  });
}

/** 1, 2 and 5 of every decade, or fewer where there is no room. */
function logTicks([low, high]: number[], most: number): number[] {
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 }, (_, at) => Math.floor(Math.log10(low)) + at);
  const found = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]].map((steps) => decades.flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`))).filter((tick) => tick >= low && tick <= high));
  const fitting = found.find((ticks) => ticks.length <= most) ?? [];
  if (fitting.length > 1) return fitting;
  const every = found[0];
  if (every.length > 1) return [every[0], every[every.length - 1]];
  return [Number(Math.sqrt(low * high).toPrecision(3))];
}
const shortDuration = (seconds: number) => duration(seconds).replace(/\.0(?= )/, "");

export interface Point { label: string; x: number; y: number; low: number; high: number; front: boolean }

export function pareto(width: number, points: Point[], x: string, y: string, less: boolean, log: boolean) {
  const front = points.filter((point) => point.front).sort((a, b) => a.x - b.x);
  const named = new Set(front.map((point) => point.label));
  return Plot.plot({
    ...base, width, height: Math.min(460, Math.max(320, width * 0.55)), marginLeft: 56, marginRight: 20, marginBottom: 44, inset: 26,
    x: { label: `${x} (${less ? "less" : "more"} is better)`, type: log ? "log" : "linear", grid: true, ticks: 6, tickFormat: log ? "~s" : "~s" },
    y: { label: y, grid: true, nice: true }, color: { type: "identity" },
    marks: [
      Plot.line(front, { x: "x", y: "y", stroke: "var(--c1)", strokeWidth: 1.5, strokeDasharray: "4,3", curve: less ? "step-after" : "step-before" }),
      Plot.ruleX(points, { x: "x", y1: "low", y2: "high", stroke: "var(--faint)", strokeOpacity: 0.6 }),
      Plot.dot(points, { x: "x", y: "y", r: 4.5, fill: (p: Point) => (p.front ? "var(--c1)" : "var(--paper)"), stroke: (p: Point) => (p.front ? "var(--c1)" : "var(--faint)"), strokeWidth: 2 }),
      ...(points.length <= 14 && width > 640 ? [Plot.text(points.filter((point) => !point.front), { x: "x", y: "y", text: (p: Point) => cut(p.label, 26), dx: 8, textAnchor: "start", fill: "var(--faint)", stroke: "var(--paper)", strokeWidth: 3 })] : []),
      ...lanes(front, points, width, log).map((lane, at) => Plot.text(lane, { x: "x", y: "y", text: (p: Point) => cut(p.label, 26), dy: -12 - 15 * at, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 4, fontWeight: "bold" })),
      Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: (p: Point) => `${cut(p.label, 60)}\n${x}: ${p.x.toLocaleString("en")}\n${y}: ${p.y}`, fill: "var(--paper)", stroke: "var(--faint)" })),
    ].filter((_, at) => named.size > 0 || at > 0),
  });
}

/** Points whose names, one beside the other, do not overlap: a lane for each height above the points, the lowest first. */
function lanes(front: Point[], points: Point[], width: number, log: boolean): Point[][] {
  const scale = (x: number) => (log ? Math.log(x) : x);
  const xs = points.map((point) => scale(point.x));
  const least = Math.min(...xs), pixels = (width - 128) / (Math.max(...xs) - least || 1);
  const found: { points: Point[]; end: number }[] = [];
  for (const point of front) {
    const middle = (scale(point.x) - least) * pixels, half = (cut(point.label, 26).length * 8) / 2;
    let lane = found.find((each) => each.end < middle - half);
    if (!lane) found.push((lane = { points: [], end: 0 }));
    lane.points.push(point);
    lane.end = middle + half;
  }
  return found.map((lane) => lane.points);
}

const cut = (text: string, most: number) => ([...text].length > most ? [...text].slice(0, most - 1).join("") + "…" : text);

export interface Band { label: string; epoch: number; mean: number; low: number; high: number; at: number }

export function learning(width: number, bands: Band[], title: string) {
  return Plot.plot({
    ...base, width, height: 300, marginLeft: 56, marginTop: 28, marginBottom: 40, x: { label: "epoch", ticks: 8 }, y: { label: title, grid: true, nice: true },
    color: { type: "identity" },
    marks: [
      Plot.areaY(bands, { x: "epoch", y1: "low", y2: "high", z: "label", fill: (b: Band) => color(b.at), fillOpacity: 0.18 }),
      Plot.lineY(bands, { x: "epoch", y: "mean", z: "label", stroke: (b: Band) => color(b.at), strokeWidth: 2 }),
    ],
  });
}

export function curvePlot(width: number, curves: Curve[], kind: "roc" | "pr") {
  const [x, y] = kind === "roc" ? (["fpr", "tpr"] as const) : (["recall", "precision"] as const);
  const points = curves.flatMap((curve, at) => curve[x].map((value, place) => ({ x: value, y: curve[y][place], z: curve.class, at })));
  const size = Math.min(width, 380);
  return Plot.plot({
    ...base, width: size, height: size, marginLeft: 48, marginTop: 30, marginBottom: 42,
    x: { label: kind === "roc" ? "false positive rate" : "recall", domain: [0, 1], grid: true, ticks: 5 },
    y: { label: kind === "roc" ? "true positive rate" : "precision", domain: [0, 1], grid: true, ticks: 5 }, color: { type: "identity" },
    marks: [
      ...(kind === "roc" ? [Plot.line([[0, 0], [1, 1]], { stroke: "var(--faint)", strokeDasharray: "3,3" })] : []),
      Plot.line(points, { x: "x", y: "y", z: "z", stroke: (p: { at: number }) => color(p.at), strokeWidth: 2 }),
    ],
  });
}

export function reliabilityPlot(width: number, { bin, confidence, accuracy, items }: NonNullable<Details["reliability"]>) {
  const size = Math.min(width, 380);
  const most = Math.max(...items);
  const rows = bin.map((b, at) => ({ x1: b / 15, x2: (b + 1) / 15, confidence: confidence[at], accuracy: accuracy[at], share: (0.25 * items[at]) / most }));
  return Plot.plot({
    ...base, width: size, height: size, marginLeft: 48, marginTop: 30, marginBottom: 42,
    x: { label: "confidence", domain: [0, 1], grid: true, ticks: 5 }, y: { label: "accuracy", domain: [0, 1], grid: true, ticks: 5 },
    marks: [
      Plot.rectY(rows, { x1: "x1", x2: "x2", y1: 0, y2: "share", fill: "var(--faint)", fillOpacity: 0.35, insetLeft: 1 }),
      Plot.line([[0, 0], [1, 1]], { stroke: "var(--faint)", strokeDasharray: "3,3" }),
      Plot.line(rows, { x: "confidence", y: "accuracy", stroke: "var(--c1)", strokeWidth: 2 }),
      Plot.dot(rows, { x: "confidence", y: "accuracy", fill: "var(--c1)", r: 4 }),
    ],
  });
}

export function confusionPlot(width: number, table: number[][]) {
  const size = Math.min(width, 34 * table.length + 80, 620);
  const cells = table.flatMap((line, truth) => {
    const total = line.reduce((a, b) => a + b, 0) || 1;
    return line.map((items, predicted) => ({ truth, predicted, items, share: items / total }));
  });
  const shown = cells.filter((cell) => cell.items > 0);
  return Plot.plot({
    ...base, width: size, height: size, marginLeft: 48, marginTop: 40, padding: 0.04, color: { type: "identity" },
    x: { label: "predicted", axis: "top", domain: table.map((_, at) => at), tickSize: 0 }, y: { label: "true", domain: table.map((_, at) => at), tickSize: 0 },
    marks: [
      Plot.cell(cells, { x: "predicted", y: "truth", fill: "var(--grid)" }),
      Plot.cell(shown, { x: "predicted", y: "truth", fill: (c: { truth: number; predicted: number }) => (c.truth === c.predicted ? "var(--c1)" : "var(--bad)"), fillOpacity: (c: { share: number }) => 0.15 + 0.85 * c.share }),
      ...(table.length <= 20 ? [Plot.text(shown, { x: "predicted", y: "truth", text: "items", fill: (c: { share: number }) => (c.share > 0.5 ? "var(--on-color)" : "currentColor") })] : []),
    ],
  });
}

/** Methods from the best average rank down; bars join those that are closer than the critical difference. */
export function ranksPlot(width: number, found: Across) {
  const { standings, distance } = found;
  const k = standings.length;
  const groups = distance === null ? [] : cliques(standings.map((each) => each.rank), distance);
  const lane = (k * 0.3) / Math.max(8, groups.length + 2);
  const scale = distance === null ? [] : [{ method: `critical difference ${distance.toFixed(2)}`, x1: 1, x2: 1 + distance }];
  const bars = groups.map(([first, last], at) => ({ x: k + 0.4 + (at + 1) * lane, y1: standings[first].method, y2: standings[last].method }));
  const left = Math.min(width * 0.42, 16 + 6.6 * Math.max(...[...standings, ...scale].map((each) => each.method.length)));
  return Plot.plot({
    ...base, width, height: 70 + 22 * (k + scale.length), marginLeft: left, marginTop: 36,
    x: { axis: "top", label: "average rank, 1 is best →", domain: [0.6, k + 0.4 + (bars.length + 1) * lane], ticks: Array.from({ length: k }, (_, at) => at + 1).filter((at) => k <= 15 || at % 5 === 0 || at === 1), tickFormat: "d" },
    y: { domain: [...standings, ...scale].map((each) => each.method), label: null, tickSize: 0 },
    marks: [
      Plot.ruleY(scale, { y: "method", x1: "x1", x2: "x2", stroke: "currentColor", strokeWidth: 2, marker: "tick" as any }),
      Plot.ruleY(standings, { y: "method", x1: 0.6, x2: "rank", stroke: "var(--grid)" }),
      Plot.dot(standings, { x: "rank", y: "method", r: 5, fill: "var(--c1)" }),
      Plot.text(standings, { x: "rank", y: "method", text: (s: { rank: number }) => s.rank.toFixed(2), dx: 10, textAnchor: "start", fill: "currentColor" }),
      Plot.ruleX(bars, { x: "x", y1: "y1", y2: "y2", stroke: "var(--c2)", strokeWidth: 4, strokeLinecap: "round" }),
    ],
  });
}

/** The longest stretches of ranks, in order, that span at most the distance; those of one alone are left out. */
export function cliques(ranks: number[], distance: number): [number, number][] {
  const found: [number, number][] = [];
  let reached = -1;
  ranks.forEach((rank, first) => {
    let last = first;
    while (last + 1 < ranks.length && ranks[last + 1] - rank <= distance) last++;
    if (last > first && last > reached) found.push([first, last]);
    reached = Math.max(reached, last);
  });
  return found;
}
