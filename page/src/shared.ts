// What every view is given.
import { useEffect, useRef } from "preact/hooks";
import type { Aggregate } from "./aggregate";
import type { Data } from "./data";
import type { Go, State } from "./state";

export interface Shared {
  data: Data; state: State; go: Go;
  /** The metric of the first board that is chosen, of each board, and whether they differ. */
  metric: string; metricOf: (board: number) => string; mixed: boolean;
  /** All rows, aggregated; those that are chosen; and the boards that are. */
  all: Aggregate[]; rows: Aggregate[]; boards: number[];
}

export const rowAddress = (data: Data, row: number) => `${data.boards[data.rows[row].board].key}.${data.rows[row].key}`;

export function rowAt(data: Data, key: string): number {
  return data.rows.findIndex((row) => `${data.boards[row.board].key}.${row.key}` === key);
}

/** One board for what shows one at a time: the first with rows. */
export function theBoard({ data, rows }: Shared): number | null {
  return rows.length ? data.rows[rows[0].row].board : null;
}

/** Whether it is new runs, and not the reader, that changed what is shown: that is not announced at every run. */
export function useUpdated(data: Data): boolean {
  const before = useRef(data);
  const updated = before.current !== data;
  useEffect(() => { before.current = data; });
  return updated;
}
