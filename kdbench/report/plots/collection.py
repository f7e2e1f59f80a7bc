"""Every plot of some leaderboards, written to a folder as PNG and SVG."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.durable import reason, replace_file
from kdbench.errors import StoreError, UsageError
from kdbench.records import Record, Summary
from kdbench.report.across import across
from kdbench.report.grouping import RowRuns, members_of_boards, rows_of
from kdbench.report.labels import row_labels
from kdbench.report.leaderboard import Leaderboard
from kdbench.report.page.details import run_details
from kdbench.report.plots.answers import Answers, class_curves, reliability_diagram
from kdbench.report.plots.costs import COSTS, cost
from kdbench.report.plots.differences import differences
from kdbench.report.plots.learning import learning
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.ranks import critical_differences, wins
from kdbench.report.plots.style import not_drawn, rendered, short, slug, styled
from kdbench.report.tuned_picture import draw as draw_search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdbench.report.tuned import TunedBoard
    from kdbench.store import Store

SLUG = 60
"""Characters of a file's name that are for people; its hash is what tells it from every other."""


@dataclass(frozen=True)
class Plot:
    """One plot that may be drawn."""

    kind: str
    of: str
    """What it is of, for the reasons of those that are left out."""
    name: str
    """Of its files, without the ending."""
    draw: Callable[[], Figure]
    """Raises: LeftOut."""


@dataclass(frozen=True)
class Written:
    """What became of the plots."""

    names: list[str]
    """Of those written, without the ending: NAME.png and NAME.svg are there."""
    left_out: list[str]
    """Why others are not, each reason once."""
    not_drawn: str
    """Signs in names that no installed font has: boxes in the PNG files."""


def write_plots(
    boards: Sequence[Leaderboard],
    summaries: Sequence[Summary],
    store: Store,
    folder: Path,
    *,
    tuned: Sequence[TunedBoard] = (),
) -> Written:
    """Draw what can be drawn, and write each plot whole or not at all; other files in the folder are left alone.

    Args:
        boards: `leaderboards(summaries)`.
        summaries: the runs that the boards were made from.
        store: where the runs' histories and predictions are.
        folder: made where there is none.
        tuned: searches whose curves are drawn too.

    Raises: UsageError where the folder cannot be used.
    """
    names: list[str] = []
    reasons: dict[tuple[str, str], list[str]] = {}
    texts = [text for board in boards for text in (board.title, *(row.label for row in board.rows))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with styled(texts):
            for plot in _plots(boards, summaries, store, tuned):
                try:
                    figure = plot.draw()
                except LeftOut as why:
                    reasons.setdefault((plot.kind, str(why)), []).append(plot.of)
                    continue
                for ending, content in rendered(figure).items():
                    replace_file(folder / f"{plot.name}.{ending}", content, folder)
                names.append(plot.name)
    except OSError as error:
        fix = "choose another folder with --plots"
        raise UsageError(f"plots cannot be written to {folder}", reason(error), fix) from error
    left_out = [f"{kind}{_of(names)}: {why}" for (kind, why), names in reasons.items()]
    return Written(names, left_out, not_drawn(texts))


def _plots(
    boards: Sequence[Leaderboard], summaries: Sequence[Summary], store: Store, tuned: Sequence[TunedBoard]
) -> Iterator[Plot]:
    members = members_of_boards([summary for summary in summaries if not summary.trial])
    for board, runs in zip(boards, members, strict=True):
        yield from _of_board(board, _by_label(runs, board.metric), store)
    compared = across(boards)
    several = f"all {len(boards)} leaderboards" if len(boards) > 1 else "the one leaderboard"
    prefix = f"across_{_safe(boards[0].metric, SLUG)}" if boards else "across"
    yield Plot("average ranks across datasets", several, f"{prefix}_ranks", lambda: critical_differences(compared))
    yield Plot("wins, ties and losses", several, f"{prefix}_wins", lambda: wins(boards, compared))
    for each in tuned:
        yield Plot("search", each.title, _name(each, f"{_safe(each.metric, SLUG)}-search"), _search(each))


def _of_board(board: Leaderboard, rows: Mapping[str, RowRuns], store: Store) -> Iterator[Plot]:
    def plot(kind: str, what: str, draw: Callable[[], Figure]) -> Plot:
        return Plot(kind, board.title, _name(board, what), draw)

    metric = _safe(board.metric, SLUG)
    yield plot("differences", f"{metric}-differences", lambda: differences(board))
    for name, axis in COSTS.items():
        yield plot(f"quality against {name}", f"{metric}-{name}", partial(cost, board, axis))
    records = {label: _records(store, runs) for label, runs in rows.items()}
    yield plot("learning curves", f"{metric}-learning", lambda: learning(board, records))
    answers = {label: found for label, runs in records.items() if (found := _answers(store, runs))}
    yield plot("ROC curves", "roc", lambda: class_curves(board, answers, "roc"))
    yield plot("precision-recall curves", "precision-recall", lambda: class_curves(board, answers, "pr"))
    yield plot("reliability diagrams", "reliability", lambda: reliability_diagram(board, answers))


def _by_label(runs: list[Summary], metric: str) -> dict[str, RowRuns]:
    rows, _ = rows_of(runs, metric)
    return dict(zip(row_labels([row.first for row in rows]), rows, strict=True))


def _records(store: Store, runs: RowRuns) -> list[Record]:
    """Of the runs of a row that ended well, by seed and fold."""
    return store.records([run.run_id for run in runs.by_seed.values() if run.status == "ok"], problems=[])


def _answers(store: Store, runs: Sequence[Record]) -> Answers | None:
    """Of the first run that kept predictions which can be read."""
    for run in runs:
        try:
            arrays = store.predictions(run.run_id)
        except (StoreError, OSError):  # damaged: the page leaves it out too, and `kdbench report` tells damaged records
            continue
        found = run_details(run, arrays, {})
        if "curves" in found:
            return Answers(run.seed, found["curves"], found.get("reliability"), run.metrics.get("ece"))
    return None


def _search(board: TunedBoard) -> Callable[[], Figure]:
    def draw() -> Figure:
        if not any(value is not None for row in board.rows for value in row.curve):
            raise LeftOut("no trial ended well")
        return draw_search([board])

    return draw


def _name(board: Leaderboard | TunedBoard, what: str) -> str:
    """`digits-mlp-l-mlp-s_1f0c9a2b3d_accuracy-differences`: any names of any length become one that is safe."""
    identity = [
        board.dataset, getattr(board, "dataset_fingerprint", None), board.teacher, board.student, board.teacher_view,
        board.student_view, board.teacher_recipe, getattr(board, "folds", None), getattr(board, "devices", None),
    ]  # fmt: skip
    return "_".join(part for part in (slug(board.title, SLUG), _key(identity), what) if part)


def _safe(name: str, most: int) -> str:
    """A metric's name as part of a file's; with a hash where something of it was lost."""
    found = slug(name, most)
    return found if found.replace("-", "_") == name else f"{found}-{_key(name)}"


def _key(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:10]


def _of(names: Sequence[str]) -> str:
    return f" of {short(names[0], SLUG)}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
