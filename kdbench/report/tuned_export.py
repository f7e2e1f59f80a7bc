"""Tuned leaderboards for programs: JSON with every trial, CSV of the rows, CSV of the trials, and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kdbench.durable import replace_file
from kdbench.errors import StoreError
from kdbench.report.export import csv_cell
from kdbench.report.tuned import TunedBoard
from kdbench.version import __version__

if TYPE_CHECKING:
    from kdbench.plan import NotRun

SCHEMA = 1
REPORTS, _EVERYTHING = "tuning", "tuning.json"
"""In the results directory; in there."""
BOARD_COLUMNS = (
    "dataset", "teacher", "student", "teacher_view", "student_view", "teacher_recipe", "metric", "higher_is_better",
    "baseline", "sampler",
)  # fmt: skip
ROW_COLUMNS = (
    "label", "method", "recipe", "rank", "budget", "unfinished", "best_trial", "params", "recipe_overrides",
    "default_validation", "best_validation", "default", "default_half_width", "tuned", "tuned_half_width", "gain",
    "gain_half_width", "gained", "difference", "difference_half_width", "seeds", "error",
)  # fmt: skip
TRIAL_COLUMNS = ("number", "status", "value", "params", "recipe", "error")


def render_tuned_json(boards: Sequence[TunedBoard], not_run: Sequence[NotRun] = ()) -> str:
    """`{"schema": 1, "tuned": [...], "not_run": [...]}`; the fields are those of TunedBoard, TunedRow and Trial.

    With the versions of kdbench and Optuna: another one may propose other trials.
    """
    versions = {"kdbench": __version__, "optuna": version("optuna")}
    content = {"schema": SCHEMA, **versions, "tuned": boards, "not_run": not_run}
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def render_tuned_csv(boards: Sequence[TunedBoard]) -> str:
    """One line per row of each board: `BOARD_COLUMNS` and `ROW_COLUMNS`."""
    lines = [
        [*(getattr(board, name) for name in BOARD_COLUMNS), *(getattr(row, name) for name in ROW_COLUMNS)]
        for board in boards
        for row in board.rows
    ]
    return _csv([*BOARD_COLUMNS, *ROW_COLUMNS], lines)


def render_trials_csv(boards: Sequence[TunedBoard]) -> str:
    """One line per trial, with the best value so far: the curves."""
    lines = [
        [
            *(getattr(board, name) for name in BOARD_COLUMNS),
            row.label,
            *(getattr(trial, name) for name in TRIAL_COLUMNS),
            best,
        ]
        for board in boards
        for row in board.rows
        for trial, best in zip(row.trials, row.curve, strict=True)
    ]
    return _csv([*BOARD_COLUMNS, "label", *TRIAL_COLUMNS, "best_so_far"], lines)


def write_tuned(boards: Sequence[TunedBoard], directory: Path, scratch: Path) -> list[Path]:
    """Write tuning.json, tuned.csv, trials.csv and, where matplotlib is installed, curves.png; returns their paths.

    `scratch` is a directory on the same file system, for files that are being written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        _EVERYTHING: render_tuned_json(boards).encode(),
        "tuned.csv": render_tuned_csv(boards).encode(),
        "trials.csv": render_trials_csv(boards).encode(),
    }
    if find_spec("matplotlib") is not None and boards:
        from kdbench.report.tuned_picture import picture

        contents["curves.png"] = picture(boards)
    for name, content in contents.items():
        replace_file(directory / name, content, scratch)
    return [directory / name for name in contents]


def read_tuned(results: Path) -> list[TunedBoard]:
    """The boards that `kdbench tune` left in a results directory; none where it was never used there.

    Raises: StoreError for a file that cannot be read.
    """
    path = results / REPORTS / _EVERYTHING
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Written)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        fix = "run kdbench tune again, or remove the file: the search curves are then left out"
        raise StoreError(f"{path} cannot be read", str(error), fix) from error
    return content.tuned


class _Written(msgspec.Struct):
    tuned: list[TunedBoard]


def _csv(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([csv_cell(value) for value in line] for line in lines)
    return output.getvalue()
