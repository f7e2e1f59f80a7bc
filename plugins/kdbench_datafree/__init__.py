"""Distillation without training data: a generator makes the inputs, and there are no labels."""

from typing import NamedTuple

import kdbench


class Registration(NamedTuple):
    """Where a method is, and what a list of methods says of it."""

    target: str
    source: str
    summary: str


METHODS = {
    "zskt": Registration(
        "adversary:ZeroShotTransfer",
        "Micaelli & Storkey (2019)",
        "a generator seeks inputs on which the student differs from the teacher; no data",
    ),
    "dafl": Registration(
        "prior:DataFreeLearning",
        "Chen et al. (2019)",
        "a generator makes inputs that the teacher is sure of, of all classes; no data",
    ),
}


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register every method of `METHODS`."""
    for name, (target, source, summary) in METHODS.items():
        register(name, f"kdbench_datafree.{target}", family="data-free", source=source, summary=summary)
