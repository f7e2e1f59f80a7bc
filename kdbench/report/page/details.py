"""What the page shows of a single run: its curves, its confusion matrix, its answers beside the baseline's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kdbench.errors import StoreError
from kdbench.records import Record
from kdbench.report.page.packing import packed, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kdbench.store import Store

WHOLE = 3_000
"""Up to so many runs, each has its details; of more, the first seeds of each row do, with fewer epochs."""
BUDGET = 9_000_000
"""Characters of all details together."""
EPOCHS, FEWER_EPOCHS = 120, 30
CONFUSION = 40
"""Classes of a confusion matrix that is shown whole."""

Arrays = dict[str, "NDArray[Any]"]


def details(store: Store, rows: Sequence[Sequence[str]], baselines: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """For each row its runs' details by run id, packed; empty where none fit.

    Args:
        store: where the records and predictions are; what cannot be read has no details.
        rows: the run ids of each row, the first seed first.
        baselines: for each row the baseline's run at the same seed and fold, by run id.
    """
    total = sum(map(len, rows))
    each = max(1, WHOLE // max(1, len(rows))) if total > WHOLE else total
    epochs = EPOCHS if total <= WHOLE else FEWER_EPOCHS
    left = BUDGET
    answers = _answers_of(store)
    for run_ids, baseline in zip(rows, baselines, strict=True):
        found = _of_row(store, answers, run_ids[:each], baseline, epochs)
        text = packed(found) if found else ""
        if len(text) > left:
            text = ""
        left -= len(text)
        yield text


def row_details(store: Store, run_ids: Sequence[str], baseline: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The details of one row's runs by run id, whole; arguments as for `details`."""
    return _of_row(store, _answers_of(store), run_ids[:WHOLE], baseline, EPOCHS)


def _of_row(
    store: Store,
    answers: Callable[[str], Arrays],
    run_ids: Sequence[str],
    baseline: Mapping[str, str],
    epochs: int,
) -> dict[str, dict[str, Any]]:
    found = {}
    for record in store.records(run_ids, problems=[]):
        other = baseline.get(record.run_id)
        found[record.run_id] = run_details(
            record, answers(record.run_id), answers(other) if other else {}, epochs=epochs
        )
    return found


def _answers_of(store: Store) -> Callable[[str], Arrays]:
    """The arrays that a run kept; those of the last runs, which may be baselines of the next, are remembered."""

    @lru_cache(maxsize=64)
    def answers(run_id: str) -> Arrays:
        try:
            return store.predictions(run_id)
        except (StoreError, OSError):
            return {}

    return answers


def run_details(record: Record, arrays: Arrays, baseline: Arrays, *, epochs: int = EPOCHS) -> dict[str, Any]:
    """The details of one run, with its baseline's answers to the same items, if any."""
    found: dict[str, Any] = {
        "history": history(record.history, epochs), "selected": record.selected_epoch,
        "validation": record.val_metrics, "teacher": record.teacher_metrics, "seconds": record.cost.seconds,
    }  # fmt: skip
    if record.confusion and len(record.confusion) <= CONFUSION:
        found["confusion"] = record.confusion
    short: dict[str, Any] = shortened(found | _from_answers(arrays, baseline))
    return short


def history(rows: Sequence[Mapping[str, float | None]], most: int) -> dict[str, list[float | None]]:
    """The history by column, of at most so many epochs, spread evenly with the first and the last."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) > most:
        rows = [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]
    return {name: [row.get(name) for row in rows] for name in names}


def _from_answers(arrays: Arrays, baseline: Arrays) -> dict[str, Any]:
    """Curves and tests from predictions of classes: {"probabilities", "labels"}; tests alone of spans; else nothing."""
    if _are_spans(arrays):
        return _tests(arrays, baseline)
    if not {"probabilities", "labels"} <= set(arrays):
        return {}
    from kdbench.report.page.curves import one_vs_rest, reliability

    probabilities, labels = arrays["probabilities"], arrays["labels"]
    if probabilities.ndim != 2 or len(labels) != len(probabilities) or labels.ndim > 2 or not len(labels):
        return {}
    found: dict[str, Any] = {"items": len(labels), "curves": one_vs_rest(probabilities, labels)}
    if labels.ndim == 1:
        found["reliability"] = reliability(probabilities, labels)
        found |= _tests(arrays, baseline)
    return found


def _are_spans(arrays: Arrays) -> bool:
    """Whether they are {"predicted", "labels"}, (N, 2) each: what is kept of questions, a text's windows as one."""
    predicted, labels = arrays.get("predicted"), arrays.get("labels")
    if predicted is None or labels is None:
        return False
    return labels.ndim == 2 and labels.shape[1] == 2 and predicted.shape == labels.shape and len(labels) > 0


def _right(arrays: Arrays) -> NDArray[Any]:
    """Which items, of classes or of spans, are answered right, (N,)."""
    right: NDArray[Any] = (
        (arrays["predicted"] == arrays["labels"]).all(axis=1)
        if _are_spans(arrays)
        else arrays["probabilities"].argmax(axis=1) == arrays["labels"]
    )
    return right


def _tests(arrays: Arrays, baseline: Arrays) -> dict[str, Any]:
    """The accuracy's interval over items and, where the baseline answered the same ones, McNemar's test beside it."""
    from kdbench.statistics import mcnemar, share_interval

    right, labels = _right(arrays), arrays["labels"]
    found: dict[str, Any] = {"items": len(right), "accuracy_interval": share_interval(int(right.sum()), len(right))}
    theirs, alike = baseline.get("labels"), _are_spans(baseline) if _are_spans(arrays) else "probabilities" in baseline
    if not alike or theirs is None or labels.shape != theirs.shape or (labels != theirs).any():
        return found
    test = mcnemar(right, _right(baseline))
    versus = {"only_this": test.only_first, "only_baseline": test.only_second, "p_value": test.p_value}
    return {**found, "versus": versus}
