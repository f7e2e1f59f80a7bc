// Numbers as the other formats of kdbench write them.
import type { Data } from "./data";

export const NOTHING = "–";
const SIGNS = { minimumFractionDigits: 0 };

export function metricText(data: Data, metric: string, value: number | null, signed = false): string {
  if (value === null) return NOTHING;
  const percent = data.metrics[metric]?.percent;
  const size = Math.abs(value) < 1e4 ? (percent ? (100 * value).toFixed(2) : value.toFixed(4)) : value.toPrecision(4);
  return signed && !size.startsWith("-") ? `+${size}` : size;
}

export function metricTitle(data: Data, metric: string): string {
  const info = data.metrics[metric];
  return info ? (info.percent ? `${info.title} %` : info.title) : metric;
}

export function count(value: number | null): string {
  if (value === null) return NOTHING;
  if (value >= 999_500) return `${value < 1e9 ? precise(value / 1e6) : Math.round(value / 1e6).toLocaleString("en")}M`;
  return value >= 9_999.5 ? `${precise(value / 1e3)}k` : Math.round(value).toLocaleString("en", SIGNS);
}

export const precise = (value: number, digits = 3) => String(Number(value.toPrecision(digits)));
export const share = (value: number | null) => (value === null ? NOTHING : `${(100 * value).toFixed(0)}%`);
export const probability = (p: number | null) => (p === null ? NOTHING : p < 0.001 ? "<0.001" : p.toFixed(3));
export const moment = (seconds: number | null) =>
  seconds === null ? NOTHING : new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";

/** A time in the unit that reads best, as `kdbench compare` writes it. */
export function duration(seconds: number | null): string {
  if (seconds === null) return NOTHING;
  const [size, unit] = UNITS.find(([each]) => seconds >= each) ?? UNITS[UNITS.length - 1];
  return `${(seconds / size).toFixed(1)} ${unit}`;
}
const UNITS: [number, string][] = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];

export function plain(value: unknown): string {
  if (value === null || value === undefined || value === "") return NOTHING;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Long names are cut where they would push everything else away; the whole is in the title. */
export const short = (text: string, most = 80) => ([...text].length > most ? [...text].slice(0, most - 1).join("") + "…" : text);

export const COSTS: Record<string, { title: string; unit: string; less: boolean }> = {
  parameters: { title: "parameters", unit: "", less: true },
  nonzero_parameters: { title: "parameters ≠ 0", unit: "", less: true },
  bytes: { title: "bytes", unit: "", less: true },
  flops: { title: "FLOPs of one item", unit: "", less: true },
  peak_memory_bytes: { title: "peak memory", unit: "bytes", less: true },
  inference_samples_per_s: { title: "inference samples/s", unit: "", less: false },
  latency_ms_p50: { title: "latency ms", unit: "ms", less: true },
  train_samples_per_s: { title: "training samples/s", unit: "", less: false },
  train_seconds: { title: "training s", unit: "s", less: true },
};
export const costText = (name: string, value: number | null) =>
  value === null ? NOTHING : name === "latency_ms_p50" ? precise(value) : name === "train_seconds" ? value.toFixed(1) : count(value);
