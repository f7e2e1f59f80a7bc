// What the page shows: columns over all runs, held in the file or told by kdbench report --watch.

export type Numbers = (number | null)[];
export interface Metric { title: string; higher: boolean; percent: boolean }
export interface Board {
  key: string; title: string; dataset: string; pair: string; task: string; metric: string;
  teachers: Record<string, number[]>; headline: string; notes: string[];
}
export interface Row {
  board: number; key: string; label: string; method: string; overridden: boolean; family: string;
  params: Record<string, unknown>; overrides: Record<string, unknown>; recipe: string;
  settings: Record<string, unknown>; recipe_overrides: Record<string, unknown>; source: string;
  published: { metric: string; value: number; source?: string; protocol?: string }[];
  base: number | null; ref: number | null;
}
export interface Runs {
  id: string[]; row: number[]; seed: number[]; fold: Numbers; status: string[]; combo: number[]; combos: string[];
  error: Numbers; errors: string[]; started: Numbers; finished: Numbers;
  command: number[]; commands: string[][]; provenance: number[]; provenances: Record<string, unknown>[];
  metrics: Record<string, Numbers>; costs: Record<string, Numbers>;
}
export interface TimingStats { median: number; q1: number; q3: number; rounds: number }
export interface Benchmark { name: string; group: string; stats: (TimingStats | null)[]; verdict: string | null; ratio: number | null }
export interface Timings {
  files: { name: string; measured: string; conditions: Record<string, string> }[]; benchmarks: Benchmark[];
  differing: Record<string, [string, string]>; tolerance: number;
}
export interface Data {
  metric: string; baseline: string; reference: string; metrics: Record<string, Metric>; t: number[]; q: number[];
  boards: Board[]; rows: Row[]; runs: Runs; about: { version: string; made: string; directory: string };
  timings: Timings | null;
  /** Of a page that is told what is new: what could not be read, and which combos are asked for. */
  live?: { problems: string[]; expression: string };
  /** The first run of each row, and the end of the last: the runs of a row are side by side. */
  starts: number[];
  /** The details of a row's runs, by run id; empty where the page was made without them, null where nobody answers. */
  details: (row: number) => Promise<Record<string, Details> | null>;
}
export interface Curve {
  class: number; positives: number; auc: number; low: number | null; high: number | null; ap: number;
  fpr: number[]; tpr: number[]; recall: number[]; precision: number[];
}
export interface Details {
  history: Record<string, Numbers>; selected: number | null; validation: Record<string, number | null>;
  teacher: Record<string, number | null>; seconds: Record<string, number>; confusion?: number[][]; items?: number;
  curves?: Curve[]; reliability?: { bin: number[]; items: number[]; confidence: number[]; accuracy: number[] };
  accuracy_interval?: [number, number]; versus?: { only_this: number; only_baseline: number; p_value: number };
}

/** What the difference of a row is from: the undistilled row that was given the same, where there is one. */
export function baseOf(data: Data, row: number): string {
  const { base } = data.rows[row];
  return base === null || data.rows[base].method === data.baseline ? data.baseline : data.rows[base].label;
}

async function unpacked(text: string): Promise<any> {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

/** What a script element of the file holds; undefined where there is none. */
export function held(id: string): any {
  const text = document.getElementById(id)?.textContent;
  return text ? JSON.parse(text) : undefined;
}

export function prepared(content: any, details: Data["details"]): Data {
  const data: Data = { ...content, details };
  data.starts = new Array(data.rows.length + 1).fill(data.runs.id.length);
  for (let run = data.runs.row.length - 1; run >= 0; run--) data.starts[data.runs.row[run]] = run;
  return data;
}

export async function readData(): Promise<Data> {
  let chunks: string[] | null = null;
  const read = new Map<number, Promise<Record<string, Details>>>();
  return prepared(await unpacked(held("overview")), (row) => {
    chunks ??= held("details") as string[];
    if (!read.has(row)) read.set(row, chunks[row] ? unpacked(chunks[row]) : Promise.resolve({}));
    return read.get(row)!;
  });
}

export function commandOf(data: Data, run: number): string {
  const parts = data.runs.commands[data.runs.command[run]];
  return parts.length === 2 ? parts[0] + data.runs.seed[run] + parts[1] : parts[0];
}
