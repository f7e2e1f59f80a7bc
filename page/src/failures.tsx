// Runs that did not end well, with what went wrong.
import { useMemo } from "preact/hooks";
import { short } from "./format";
import type { Shared } from "./shared";
import { address } from "./state";
import { type Column, DataTable } from "./table";

interface Failure { run: number }

export function Failures({ data, state, go, rows }: Shared) {
  const { runs } = data;
  const found = useMemo(
    () => rows.flatMap(({ row }): Failure[] => {
      const members = Array.from({ length: data.starts[row + 1] - data.starts[row] }, (_, n) => data.starts[row] + n);
      return members.filter((run) => runs.status[run] !== "ok").map((run) => ({ run }));
    }),
    [rows],
  );
  const errorOf = (run: number) => (runs.error[run] === null ? "" : runs.errors[runs.error[run]!]);
  const columns = useMemo(
    (): Column<Failure>[] => [
      { id: "run", title: "run", left: true, value: ({ run }) => data.rows[runs.row[run]].label, cell: ({ run }) => <a href={address(state, { run: runs.id[run] })}><bdi>{short(data.rows[runs.row[run]].label)}</bdi>, seed {runs.seed[run]}</a> },
      { id: "board", title: "leaderboard", left: true, value: ({ run }) => data.boards[data.rows[runs.row[run]].board].title, cell: ({ run }) => <bdi>{short(data.boards[data.rows[runs.row[run]].board].title)}</bdi> },
      { id: "status", title: "status", left: true, value: ({ run }) => runs.status[run], cell: ({ run }) => runs.status[run] },
      { id: "error", title: "error", left: true, value: ({ run }) => errorOf(run), cell: ({ run }) => <bdi class="wrap">{short(errorOf(run), 400)}</bdi> },
    ],
    [data, state],
  );
  if (!found.length) return <p>Every run that is chosen ended well.</p>;
  return <DataTable label="Failures" columns={columns} rows={found} rowKey={({ run }) => runs.id[run]} sort={state.sort} onSort={(sort) => go({ sort }, { replace: true })} page={Number(state.page) || 0} onPage={(page) => go({ page: String(page) }, { replace: true })} />;
}
