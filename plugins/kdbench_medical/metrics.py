"""Measures of diagnosis: operating points, the interval of one run's AUC, agreement on a scale of grades.

The positive class is class 1, as it is for `roc_auc`; a score is its probability. Of several findings, which do not
exclude each other, a rate is the mean of the findings' own, those left out that no item has (of a sensitivity) or all
have (of a specificity); so is the area under the ROC curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench.statistics import auc_interval

Scores = NDArray[np.float64]
Labels = NDArray[np.int64]
OperatingPoint = Callable[[Scores, Labels, Scores, Labels], float]
TARGET = "0.9"


def sensitivity(probabilities: Scores, labels: Labels) -> float:
    """Share of the positive items whose probability is above ½; NaN without any.

    Args:
        probabilities: (N, 2), or (N, C) of C findings.
        labels: (N,) class indices, or (N, C) of 0 and 1.
    """
    return _average(_rates(scores > 0.5, there)[0] for scores, there in _findings(probabilities, labels))


def specificity(probabilities: Scores, labels: Labels) -> float:
    """Share of the negative items whose probability is not above ½; NaN without any. Shapes as of `sensitivity`."""
    return _average(_rates(scores > 0.5, there)[1] for scores, there in _findings(probabilities, labels))


def sensitivity_at_specificity(text: str = TARGET) -> OperatingPoint:
    """Sensitivity on the test split, at the threshold that has a specificity of at least `text` on validation.

    Of such thresholds the one of the greatest sensitivity there. The specificity that it has on the test split is
    `achieved_specificity`. Raises: InvalidParameter for a text that is no number in (0, 1].
    """
    return _operating_point("sensitivity_at_specificity", text, held=1, scored=0)


def achieved_specificity(text: str = TARGET) -> OperatingPoint:
    """Specificity on the test split at the threshold of `sensitivity_at_specificity`."""
    return _operating_point("achieved_specificity", text, held=1, scored=1)


def specificity_at_sensitivity(text: str = TARGET) -> OperatingPoint:
    """Specificity on the test split, at the threshold that has a sensitivity of at least `text` on validation.

    Of such thresholds the one of the greatest specificity there. The sensitivity that it has on the test split is
    `achieved_sensitivity`. Raises: InvalidParameter for a text that is no number in (0, 1].
    """
    return _operating_point("specificity_at_sensitivity", text, held=0, scored=1)


def achieved_sensitivity(text: str = TARGET) -> OperatingPoint:
    """Sensitivity on the test split at the threshold of `specificity_at_sensitivity`."""
    return _operating_point("achieved_sensitivity", text, held=0, scored=0)


def choose_threshold(scores: Scores, labels: Labels, held: int, target: float) -> float:
    """The threshold to call an item positive from, `score >= threshold`, chosen on a split (N,).

    `held` is 0 where the sensitivity has to be at least `target`, 1 where the specificity has to. Of the scores that
    occur, and of infinity (nobody is positive), the one with the greatest other rate; of equal ones the highest.
    """
    thresholds = np.append(np.unique(scores), np.inf)
    sick, healthy = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    rates = (1 - _share_below(sick, thresholds), _share_below(healthy, thresholds))  # rising thresholds
    other = np.where(rates[held] >= target, rates[1 - held], -1.0)
    best = len(other) - 1 - int(other[::-1].argmax())
    return float(thresholds[best])


def roc_auc_low(probabilities: Scores, labels: Labels) -> float:
    """Lower end of the 95% interval of this run's ROC AUC, `kdbench.statistics.auc_interval`; NaN where it has none.

    Shapes as of `sensitivity`.
    """
    return _auc_ends(probabilities, labels)[0]


def roc_auc_high(probabilities: Scores, labels: Labels) -> float:
    """Upper end of the interval of `roc_auc_low`."""
    return _auc_ends(probabilities, labels)[1]


def _auc_ends(probabilities: Scores, labels: Labels) -> tuple[float, float]:
    found = auc_interval(_scores(probabilities, labels), labels == 1)
    if found is None or found.low is None or found.high is None:
        return math.nan, math.nan
    return found.low, found.high


def quadratic_kappa(probabilities: Scores, labels: Labels) -> float:
    """Agreement of predicted and true grades beyond chance, disagreements weighed by their square (Cohen, 1968).

    Classes are grades in order; a prediction is the most probable. 1 is perfect, 0 is chance; NaN where one grade is
    both all that is predicted and all that is true.
    """
    grades = np.arange(probabilities.shape[1])
    cells = np.zeros((len(grades), len(grades)))
    np.add.at(cells, (labels, probabilities.argmax(axis=1)), 1)
    weights = (grades[:, None] - grades) ** 2
    expected = np.outer(cells.sum(1), cells.sum(0)) / cells.sum()
    by_chance = float((weights * expected).sum())
    return 1 - float((weights * cells).sum()) / by_chance if by_chance else math.nan


def _share_below(values: Scores, thresholds: Scores) -> Scores:
    """Share of `values` (sorted) below each threshold; NaN without any, which reaches no target."""
    with np.errstate(invalid="ignore"):
        return np.searchsorted(values, thresholds, "left") / np.float64(len(values))


def _scores(probabilities: Scores, labels: Labels) -> Scores:
    """Of two classes the second's, (N,); else those of every finding, (N, C)."""
    return probabilities[:, 1] if labels.ndim == 1 else probabilities


def _findings(probabilities: Scores, labels: Labels) -> list[tuple[Scores, Labels]]:
    """Scores (N,) and labels (N,) of each finding."""
    return list(zip(np.atleast_2d(_scores(probabilities, labels).T), np.atleast_2d(labels.T), strict=True))


def _average(rates: Iterable[float]) -> float:
    """The mean of the rates that there are; NaN without any."""
    found = [rate for rate in rates if not math.isnan(rate)]
    return sum(found) / len(found) if found else math.nan


def _rates(positive: NDArray[np.bool_], labels: Labels) -> tuple[float, float]:
    """Sensitivity and specificity of a verdict; NaN without items of the class."""
    sick, healthy = positive[labels == 1], positive[labels == 0]
    return (
        float(sick.mean()) if len(sick) else math.nan,
        float(1 - healthy.mean()) if len(healthy) else math.nan,
    )


def _operating_point(name: str, text: str, *, held: int, scored: int) -> OperatingPoint:
    target = _target(name, text)

    def metric(probabilities: Scores, labels: Labels, validation: Scores, validation_labels: Labels) -> float:
        test, chosen_on = _findings(probabilities, labels), _findings(validation, validation_labels)
        thresholds = [choose_threshold(scores, there, held, target) for scores, there in chosen_on]
        return _average(
            _rates(scores >= threshold, there)[scored]
            for (scores, there), threshold in zip(test, thresholds, strict=True)
        )

    return metric


def _target(name: str, text: str) -> float:
    try:
        target = float(text)
    except ValueError:
        target = math.nan
    if not 0 < target <= 1:
        raise kdbench.InvalidParameter(
            f"metric '{name}:{text}': {text!r} is no number in (0, 1]",
            "it is the rate that validation has to reach",
            f"for example: --measure {name}:0.95",
        )
    return target
