// What the page holds: columns over all runs, unpacked with the browser's own gzip.

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
export interface Data {
  metric: string; baseline: string; reference: string; metrics: Record<string, Metric>; t: number[]; q: number[];
  boards: Board[]; rows: Row[]; runs: Runs; about: { version: string; made: string; directory: string };
  /** The first run of each row, and the end of the last: the runs of a row are side by side. */
  starts: number[];
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

async function unpacked(text: string): Promise<any> {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function held(id: string): any {
  return JSON.parse(document.getElementById(id)!.textContent!);
}

export async function readData(): Promise<Data> {
  const data: Data = await unpacked(held("overview"));
  data.starts = new Array(data.rows.length + 1).fill(data.runs.id.length);
  for (let run = data.runs.row.length - 1; run >= 0; run--) data.starts[data.runs.row[run]] = run;
  return data;
}

let chunks: string[] | null = null;
const read = new Map<number, Promise<Record<string, Details>>>();

/** The details of a row's runs, by run id; empty where the page was made without them. */
export function detailsOf(row: number): Promise<Record<string, Details>> {
  chunks ??= held("details") as string[];
  if (!read.has(row)) read.set(row, chunks[row] ? unpacked(chunks[row]) : Promise.resolve({}));
  return read.get(row)!;
}

export function commandOf(data: Data, run: number): string {
  const parts = data.runs.commands[data.runs.command[run]];
  return parts.length === 2 ? parts[0] + data.runs.seed[run] + parts[1] : parts[0];
}
