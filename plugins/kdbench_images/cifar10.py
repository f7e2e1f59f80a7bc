"""The suite `cifar10-paper`: the wide residual networks of Zagoruyko & Komodakis (2017, attention transfer), table 1.

A figure that we could not find printed a second time, by other authors, is not here.
"""

from __future__ import annotations

from typing import Any

from kdbench import Recipe
from kdbench_images.benchmark import Benchmark, Table

PAIRS = ("wrn-16-2->wrn-16-1", "wrn-40-1->wrn-16-1", "wrn-40-2->wrn-16-2")
WRN = Recipe(
    epochs=200,
    batch_size=128,
    lr=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    milestones=(60 / 200, 120 / 200, 160 / 200),
    gamma=0.2,
    augment=("crop", "flip"),
    select="last",
)
WEIGHTS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "kd": {"temperature": 4.0, "alpha": 0.9},
    "at": {"weight": 1000.0},
}
"""Those of the authors' code, by method."""
TABLE = Table(
    "Zagoruyko & Komodakis (2017), table 1",
    "median of 5 runs, 50,000 training items, 200 epochs, test split; epoch not known to us",
    {
        "scratch": {"wrn-16-2->wrn-16-1": 8.77, "wrn-40-1->wrn-16-1": 8.77, "wrn-40-2->wrn-16-2": 6.31},
        "kd": {"wrn-40-1->wrn-16-1": 8.39, "wrn-40-2->wrn-16-2": 6.08},
        "at": {"wrn-16-2->wrn-16-1": 7.93, "wrn-40-1->wrn-16-1": 8.25, "wrn-40-2->wrn-16-2": 5.85},
    },
    {"wrn-16-2": 6.31, "wrn-40-1": 6.58, "wrn-40-2": 5.23},
    errors=True,
)


def params(pair: str, method: str) -> dict[str, Any]:
    """The hyper-parameters of a method, the same on every pair."""
    return WEIGHTS[method]


CIFAR10 = Benchmark(
    "cifar10-paper", PAIRS, lambda pair: list(WEIGHTS), params, lambda student: "cifar-wrn", "cifar-wrn", (TABLE,)
)
