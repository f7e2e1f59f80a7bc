// A sortable table in pages: TanStack Table orders and pages, the elements are those of HTML.
import {
  createPaginatedRowModel, createSortedRowModel, rowPaginationFeature, rowSortingFeature, sortFn_basic, tableFeatures, useTable,
} from "@tanstack/preact-table";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

export interface Column<T> {
  id: string; title: string; explain?: string;
  /** What is sorted by; null goes last in either direction. */
  value: (row: T) => number | string | null;
  cell: (row: T) => ComponentChildren;
  left?: boolean; descendingFirst?: boolean;
}
interface Props<T> {
  label: string; columns: Column<T>[]; rows: T[]; rowKey: (row: T) => string; sort: string; onSort: (sort: string) => void;
  page: number; onPage: (page: number) => void; rowClass?: (row: T) => string;
}
export const PAGE_SIZE = 50;
const features = tableFeatures({
  rowSortingFeature, rowPaginationFeature, sortedRowModel: createSortedRowModel(),
  paginatedRowModel: createPaginatedRowModel(), sortFns: { basic: sortFn_basic },
});

export function DataTable<T extends object>({ label, columns, rows, rowKey, sort, onSort, page, onPage, rowClass }: Props<T>) {
  const definitions = useMemo(
    () => columns.map((column) => ({
      id: column.id, accessorFn: (row: T) => column.value(row) ?? undefined, sortUndefined: "last" as const, sortFn: "basic" as const,
    })),
    [columns],
  );
  const [by, descending] = [sort.replace(/^-/, ""), sort.startsWith("-")];
  const sorting = columns.some((column) => column.id === by) ? [{ id: by, desc: descending }] : [];
  const pages = Math.max(1, Math.ceil(rows.length / PAGE_SIZE));
  const at = Math.min(Math.max(page, 0), pages - 1);
  const table = useTable({
    features, data: rows, columns: definitions as any, state: { sorting, pagination: { pageIndex: at, pageSize: PAGE_SIZE } },
  } as any) as any;
  const shown = (table.getRowModel().rows as { original: T }[]).map((row) => row.original);
  return (
    <>
      <div class="scroll" role="region" aria-label={label} tabIndex={0}>
        <table>
          <caption class="hidden">{label}</caption>
          <thead>
            <tr>
              {columns.map((column) => {
                const active = sorting[0]?.id === column.id;
                const next = active ? (descending === !!column.descendingFirst ? (descending ? column.id : `-${column.id}`) : "")
                  : column.descendingFirst ? `-${column.id}` : column.id;
                return (
                  <th scope="col" key={column.id} class={column.left ? "left" : ""} title={column.explain}
                    aria-sort={active ? (descending ? "descending" : "ascending") : undefined}>
                    <button type="button" onClick={() => onSort(next)}>
                      {column.title}<span class="arrow" aria-hidden="true">{active ? (descending ? " ▼" : " ▲") : ""}</span>
                    </button>
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={rowKey(row)} class={rowClass?.(row)}>
                {columns.map((column, place) =>
                  place === 0 ? <th scope="row" class="left" key={column.id}>{column.cell(row)}</th>
                    : <td key={column.id} class={column.left ? "left" : ""} data-value={column.left ? undefined : column.value(row) ?? ""} data-column={column.id}>{column.cell(row)}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages > 1 && (
        <nav class="pages" aria-label={`Pages of ${label}`}>
          <button type="button" disabled={at === 0} onClick={() => onPage(at - 1)}>Previous</button>
          <span>rows {at * PAGE_SIZE + 1} to {Math.min(rows.length, (at + 1) * PAGE_SIZE)} of {rows.length.toLocaleString("en")}</span>
          <button type="button" disabled={at === pages - 1} onClick={() => onPage(at + 1)}>Next</button>
        </nav>
      )}
    </>
  );
}
