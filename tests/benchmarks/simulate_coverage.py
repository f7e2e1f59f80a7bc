"""How often the 95% intervals hold the true value, in simulated experiments: run this file, with their number."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from kdbench import statistics
from kdbench.report.statistics import mean_interval, paired_interval

Ends = tuple[float | None, float | None] | None
Chance = np.random.Generator
AREAS = {1: 0.7602499389065233, 2: 0.9213503964748574, 3: 0.9830525732376091}
"""Φ(d / √2): the chance that a positive item, of N(d, 1), is ranked above a negative one, of N(0, 1)."""
TENTH, AREA_OF_CAUSES = 1.2815515655446004, 0.8755470932314255
"""Where N(0, 1) has a tenth above it; the chance that of two causes of N(0, 1), one above and one below it, the higher
one has the higher score, when each is told with an error of N(0, 1): by quadrature."""


def accuracies(chance: Chance, seeds: int) -> np.ndarray:
    """Test accuracies of seeds on 360 items: models that differ by 0.8% (sd), each item right with their chance."""
    return chance.binomial(360, np.clip(chance.normal(0.95, 0.008, seeds), 0, 1)) / 360


def near_one(chance: Chance, seeds: int) -> np.ndarray:
    """A bounded, skewed metric near its end, such as a ROC AUC: Beta(60, 1.2)."""
    return chance.beta(60, 1.2, seeds)


def over_seeds(chance: Chance, seeds: int) -> Ends:
    """Of the mean accuracy."""
    interval = mean_interval(accuracies(chance, seeds).tolist())
    return interval.low, interval.high


def paired(chance: Chance, seeds: int) -> Ends:
    """Of the difference between two methods whose models share what a seed does."""
    shared = chance.normal(0.94, 0.006, seeds)
    first, second = (chance.binomial(360, shared + shift + chance.normal(0, 0.004, seeds)) / 360 for shift in (0.01, 0))
    interval = paired_interval(zip(first.tolist(), second.tolist(), strict=True))
    return interval.low, interval.high


def skewed_t(chance: Chance, seeds: int) -> Ends:
    """The t interval of the bounded metric."""
    interval = mean_interval(near_one(chance, seeds).tolist())
    return interval.low, interval.high


def skewed_bca(chance: Chance, seeds: int) -> Ends:
    """The bootstrap interval of the bounded metric, also where there are too few seeds for kdbench to give one."""
    return statistics.bca_interval(near_one(chance, seeds).tolist(), resamples=1999, least=2)


def area(distance: int, chance: Chance, items: int) -> Ends:
    """DeLong's, of a single run with a tenth of the items positive."""
    positive = np.arange(items) < items // 10
    found = statistics.auc_interval(chance.normal(size=items) + distance * positive, positive)
    return found.low, found.high


def areas(chance: Chance, items: int) -> Ends:
    """DeLong's of the mean area, of five findings that go together: a tenth of the items has each."""
    illness = chance.normal(size=(items, 1))
    causes = 0.6 * illness + 0.8 * chance.normal(size=(items, 5))
    found = statistics.auc_interval(causes + chance.normal(size=(items, 5)), causes > TENTH)
    return found.low, found.high


def share(chance: Chance, items: int) -> Ends:
    """Wilson's, of the accuracy of a single run."""
    return statistics.share_interval(int(chance.binomial(items, 0.95)), items)


def by_items(chance: Chance, items: int) -> Ends:
    """The bootstrap over items, of the accuracy of a single run."""
    right = chance.random(items) < 0.9
    return statistics.items_interval(lambda answers: float(answers.mean()), right, resamples=499)


Experiment = tuple[str, Callable[[Chance, int], Ends], int, float, int]


def experiments() -> Iterator[Experiment]:
    """Name, interval, size, truth, and how many times fewer to simulate."""
    for seeds in (3, 5, 10):
        yield f"t, mean accuracy, {seeds} seeds", over_seeds, seeds, 0.95, 1
    for seeds in (3, 5, 10):
        yield f"paired t, difference of accuracies, {seeds} seeds", paired, seeds, 0.01, 1
    for seeds in (5, 10, 30, 100):
        yield f"t, skewed metric near 1, {seeds} seeds", skewed_t, seeds, 60 / 61.2, 1
    for seeds in (5, 10, 30, 60, 100):
        yield f"BCa, skewed metric near 1, {seeds} seeds", skewed_bca, seeds, 60 / 61.2, 5
    for distance, truth in AREAS.items():
        for items in (200, 1000):
            name = f"DeLong (log-odds), ROC AUC of {truth:.2f}, {items // 10} positive of {items}"
            yield name, partial(area, distance), items, truth, 1
    for items in (200, 1000):
        yield f"the same, mean of 5 findings, {items // 10} of {items} have each", areas, items, AREA_OF_CAUSES, 5
    for items in (100, 1000):
        yield f"Wilson, accuracy, {items} items", share, items, 0.95, 1
    yield "bootstrap over items, accuracy, 300 items", by_items, 300, 0.9, 10


def coverage(interval: Callable[[Chance, int], Ends], size: int, truth: float, times: int) -> float:
    """The share of experiments whose interval holds the truth; one without an interval does not count."""
    chance = np.random.default_rng(size)
    found = [
        ends for ends in (interval(chance, size) for _ in range(times)) if ends is not None and ends[0] is not None
    ]
    return sum(low <= truth <= high for low, high in found) / len(found)


def false_claims(methods: int, times: int) -> tuple[float, float]:
    """How often one of many methods that are no better is called different at 5%: by itself, and after Holm."""
    chance = np.random.default_rng(methods)
    plain = corrected = 0
    for _ in range(times):
        scratch = chance.normal(0.95, 0.01, 5)
        tests = [
            statistics.paired_test(list(zip(chance.normal(0.95, 0.01, 5), scratch, strict=True)))
            for _ in range(methods)
        ]
        p_values = [test.p_value for test in tests if test is not None]
        plain += min(p_values) < 0.05
        corrected += min(p for p in statistics.holm(p_values) if p is not None) < 0.05
    return plain / times, corrected / times


def main() -> None:
    """Print one line per kind of interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("times", nargs="?", type=int, default=10_000)
    times = parser.parse_args().times
    print("| 95% interval | experiments | holds the truth |\n| --- | ---: | ---: |")
    for name, interval, size, truth, fewer in experiments():
        print(f"| {name} | {times // fewer:,} | {coverage(interval, size, truth, times // fewer):.1%} |", flush=True)
    print("\n| false claims at 5% | by itself | after Holm |\n| --- | ---: | ---: |")
    for methods in (5, 20, 70):
        plain, corrected = false_claims(methods, times // 5)
        print(f"| {methods} methods, none better, 5 seeds | {plain:.1%} | {corrected:.1%} |", flush=True)


if __name__ == "__main__":
    main()
