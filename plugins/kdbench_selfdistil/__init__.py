"""Methods in which the student is its own teacher."""

from typing import NamedTuple

import kdbench


class Registration(NamedTuple):
    """Where a method is, and what a list of methods says of it."""

    target: str
    source: str
    summary: str


METHODS = {
    "byot": Registration(
        "exits:BeYourOwnTeacher",
        "Zhang et al. (2019)",
        "the student's deepest answers teach classifiers on its shallower stages; no teacher",
    ),
    "cs_kd": Registration(
        "classwise:ClasswiseSelfKD",
        "Yun et al. (2020)",
        "the student's answers for another item of the same class are its soft targets; no teacher",
    ),
}


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register every method of `METHODS`."""
    for name, (target, source, summary) in METHODS.items():
        register(name, f"kdbench_selfdistil.{target}", family="self", source=source, summary=summary)
