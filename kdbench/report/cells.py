"""What the cells of a leaderboard say: shared by the table on the terminal and the one in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from kdbench.metric_info import metric_format
from kdbench.report.leaderboard import PRIMARY_METRIC, Leaderboard
from kdbench.report.rows import BATCH, Row

if TYPE_CHECKING:
    from kdbench.plan import NotRun

NOTHING = "–"
_ERROR_LENGTH = 300
_METRICS = ("f1_macro", "roc_auc", "perplexity", "agreement", "log_loss", "ece")

T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """One column of one leaderboard: plain text, not yet escaped."""

    key: str
    """A field of Row, or the name of a metric."""
    title: str
    cells: list[str]
    importance: int
    """Where the width is short, the greatest goes first; 0 always stays."""
    carries_mark: bool = False
    """Its cells end in the mark of a supported improvement."""
    left: bool = False
    """Text, rather than numbers that are aligned at the right."""


def columns(board: Leaderboard) -> list[Column]:
    """The columns that say something about this board, in order."""
    rows = board.rows
    secondary = [(name, 8 + place) for place, name in enumerate((PRIMARY_METRIC, *_METRICS))]
    secondary += [(name, 5) for name in _of_plugins(rows)]  # asked for, so worth a place
    varying = _differ(row.parameters for row in rows)
    pruned = any(_is_pruned(row) for row in rows)
    sized = pruned or _differ(row.bytes for row in rows)
    sources = _differ(row.student_source for row in rows)
    baselines = difference_baselines(board)
    shown = [
        Column("label", "method", [one_line(row.label) for row in rows], 0, left=True),
        Column("mean", _titled(board.metric), [_mean(board, row) for row in rows], 0),
        Column("n", "n", [_runs(row) for row in rows], 3),
        Column(
            "difference",
            f"Δ vs {one_line(baselines[0])} (95% CI)" if len(baselines) == 1 else "Δ (95% CI)",
            [_difference(board, row) for row in rows],
            1,
            carries_mark=True,
        ),
        Column(
            "difference_from",
            "Δ from",
            [one_line(row.difference_from or NOTHING) if len(baselines) > 1 else NOTHING for row in rows],
            2,
            left=True,
        ),
        Column("published_difference", "Δ to paper", [_to_paper(board, row) for row in rows], 2),
        _column("gap_recovered", "gap recovered", [row.gap_recovered for row in rows], "{:.0%}".format, 4),
        *(
            _column(name, _titled(name), [row.metrics.get(name) for row in rows], metric_format(name), importance)
            for name, importance in secondary
            if name != board.metric
        ),
        _column("parameters", "parameters", [row.parameters if varying else None for row in rows], count, 7),
        _column("student_source", "made from", [row.student_source if sources else None for row in rows], str, 7),
        _column("nonzero_parameters", "≠ 0", [row.nonzero_parameters if pruned else None for row in rows], count, 7),
        _column("bytes", "bytes", [row.bytes if sized else None for row in rows], count, 7),
        _column("train_samples_per_s", "train samples/s", [row.train_samples_per_s for row in rows], count, 6),
        _column("step_time", "step time ×kd", [row.step_time for row in rows], "{:.2f}".format, 7),
        _column("train_memory", "memory ×kd", [row.train_memory for row in rows], "{:.2f}".format, 19),
        _column("train_seconds", "train s", [row.train_seconds for row in rows], "{:.1f}".format, 21),
        _column("inference_samples_per_s", "infer samples/s", [row.inference_samples_per_s for row in rows], count, 5),
        _column("latency_ms_p50", "latency ms", [row.latency_ms_p50 for row in rows], "{:.2f}".format, 20),
        _column("rank", "rank", [row.rank for row in rows], str, 2),
    ]
    return [column for column in shown if any(cell != NOTHING for cell in column.cells)]


def difference_baselines(board: Leaderboard) -> list[str]:
    """The labels of the rows that the board's differences are taken from."""
    return sorted({row.difference_from for row in board.rows if row.difference_from and row.difference is not None})


def _of_plugins(rows: Sequence[Row]) -> list[str]:
    from kdbench.metric_info import METRICS

    return sorted({name for row in rows for name in row.metrics if name not in METRICS})


def _is_pruned(row: Row) -> bool:
    """Whether more than one parameter in a hundred is 0: a few are without pruning, of units that never fire."""
    if row.nonzero_parameters is None or row.parameters is None:
        return False
    return row.nonzero_parameters < 0.99 * row.parameters


def _differ(values: Iterable[T | None]) -> bool:
    return len({value for value in values if value is not None}) > 1


def headline(board: Leaderboard) -> str:
    """The teacher's metric, the sizes, the seeds and the recipe, in one line."""
    parts = []
    if board.teacher_mean is not None:
        show = metric_format(board.metric)
        spread = f" ({show(board.teacher_range[0])} to {show(board.teacher_range[1])})" if board.teacher_range else ""
        unit = "%" if board.metric_percent else ""
        parts.append(f"teacher {_name(board)} {show(board.teacher_mean)}{unit}{spread}")
    if board.teacher_parameters is not None:
        parts.append(f"{count(board.teacher_parameters)} parameters")
    if board.student_parameters is not None:
        parts.append(f"student {count(board.student_parameters)} parameters")
    seeds = f"{len(board.seeds)} seed{'s' if len(board.seeds) > 1 else ''}"
    parts.append(f"{seeds} × {board.folds} folds" if board.folds else seeds)
    if board.devices > 1:
        parts.append(f"{board.devices} processes for each run")
    if board.recipe is not None:
        parts.append(f"recipe {board.recipe}")
    if board.teacher_recipe is not None and {row.recipe for row in board.rows} != {board.teacher_recipe}:
        parts.append(f"teacher recipe {board.teacher_recipe}")
    return one_line(", ".join(parts))


def legend(tables: Sequence[tuple[Leaderboard, Sequence[Column]]], marked: str) -> str:
    """How to read the columns that are shown, each once; `marked` says how a supported improvement looks."""
    parts = dict.fromkeys(part for board, shown in tables for part in _legend_parts(board, shown, marked))
    return "; ".join(parts) + "." if parts else ""


def errors(board: Leaderboard) -> Iterator[str]:
    """What went wrong, each error once with the rows that it is of."""
    labels: dict[str, list[str]] = {}
    for row in board.rows:
        if row.error is not None:
            labels.setdefault(row.error, []).append(f"{_unfinished(row)} of {one_line(row.label)}")
    for error, names in labels.items():
        text = one_line(error)
        yield f"{', '.join(names)}: {text if len(text) <= _ERROR_LENGTH else text[: _ERROR_LENGTH - 1] + '…'}"


def not_run_lines(not_run: Sequence[NotRun]) -> Iterator[str]:
    """Each in a line."""
    return map(one_line, map(str, not_run))


def count(number: float) -> str:
    """`8,970`, `120k`, `1.23M`."""
    if number >= 999_500:
        return f"{number / 1e6:.3g}M" if number < 1e9 else f"{number / 1e6:,.0f}M"
    return f"{number / 1e3:.3g}k" if number >= 9_999.5 else f"{number:,.0f}"


def one_line(text: str) -> str:
    """The text on one line, with control characters, which could rule a terminal, made visible."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)


def is_supported(row: Row) -> bool:
    """Whether the row is marked as an improvement."""
    return row.better is True


def _legend_parts(board: Leaderboard, shown: Sequence[Column], marked: str) -> Iterator[str]:
    keys = {column.key for column in shown}
    better = "higher" if board.higher_is_better else "lower"
    yield f"{_name(board)}: test split, mean ± half-width of the 95% t interval over n runs, {better} is better"
    if "difference" in keys:
        baselines = difference_baselines(board)
        other = one_line(baselines[0]) if len(baselines) == 1 else "the row named beside it"
        yield (
            f"Δ: mean difference from {other} at the same seeds, with its paired 95% interval; "
            f"{marked}: that interval lies on the better side of 0 (each row by itself: by chance alone, one row in 40)"
        )
    if "published_difference" in keys:
        yield "Δ to paper: mean − the published figure (in parentheses), whose source and protocol are in the notes"
    if "gap_recovered" in keys:
        yield "gap recovered: Δ as a share of teacher − baseline"
    if "step_time" in keys:
        yield "step time: of training, for an item, beside kd's; a method's other phases are in train s"
    if "student_source" in keys:
        yield "made from: what the scored model was made from, the pair's student or the teacher"
    if "nonzero_parameters" in keys:
        yield "≠ 0: parameters that are not exactly 0 (zeros are stored and computed like any number)"
    if "inference_samples_per_s" in keys:
        yield f"infer: batches of {BATCH}"


def _name(board: Leaderboard) -> str:
    return one_line(board.metric_title)


def _titled(name: str) -> str:
    from kdbench.metric_info import METRICS

    info = METRICS.get(name)
    return one_line(name) if info is None else f"{info.title} %" if info.percent else info.title


def _mean(board: Leaderboard, row: Row) -> str:
    show = metric_format(board.metric)
    if row.mean is None:
        return _unfinished(row) if row.error is not None else NOTHING
    return show(row.mean) + (f" ± {show(row.half_width)}" if row.half_width is not None else "")


def _difference(board: Leaderboard, row: Row) -> str:
    show = metric_format(board.metric, signed=True)
    if row.difference is None:
        return NOTHING
    half = row.difference_half_width
    ends = f" [{show(row.difference - half)}, {show(row.difference + half)}]" if half is not None else ""
    return show(row.difference) + ends


def _to_paper(board: Leaderboard, row: Row) -> str:
    """`+0.31 (74.92)`: the difference, and the paper's figure."""
    if row.published is None:
        return NOTHING
    figure = f"({metric_format(board.metric)(row.published)})"
    if row.published_difference is None:
        return f"{NOTHING} {figure}"
    return f"{metric_format(board.metric, signed=True)(row.published_difference)} {figure}"


def _runs(row: Row) -> str:
    return str(row.n) if row.n == row.total else f"{row.n}/{row.total}"


def _unfinished(row: Row) -> str:
    counts = (("failed", row.failed), ("diverged", row.diverged), ("timeout", row.timeout))
    return ", ".join(f"{name} ({number})" for name, number in counts if number)


def _column(key: str, title: str, values: Sequence[T | None], show: Callable[[T], str], importance: int) -> Column:
    return Column(key, title, [NOTHING if value is None else show(value) for value in values], importance)
