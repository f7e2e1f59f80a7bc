"""Methods whose teacher is not a fixed one: peers, assistants, earlier generations, a teacher that goes on learning."""

from typing import NamedTuple

import kdbench


class Registration(NamedTuple):
    """Where a method is, and what a list of methods says of it."""

    target: str
    source: str
    summary: str


METHODS = {
    "dml": Registration(
        "cohort:MutualLearning",
        "Zhang et al. (2018)",
        "students that learn together, each from the others; no teacher",
    ),
    "kdcl": Registration(
        "cohort:CollaborativeLearning",
        "Guo et al. (2020)",
        "students that learn together from the best of them at each item; no teacher",
    ),
    "one": Registration(
        "native:NativeEnsemble",
        "Lan et al. (2018)",
        "branches of one student that learn from their gated ensemble; no teacher",
    ),
    "online_teacher": Registration(
        "learning:LearningTeacher",
        "after Zhang et al. (2018)",
        "soft targets of a teacher that goes on learning beside the student",
    ),
    "adaptive_kd": Registration(
        "feedback:AdaptiveKD",
        "kdbench",
        "soft targets whose weight and temperature follow the student's gap to the teacher on validation",
    ),
    "early_stop_kd": Registration(
        "early:EarlyStoppedKD",
        "Cho & Hariharan (2019)",
        "soft targets in the first part of the training only; a teacher that stopped early, as an option",
    ),
    "progressive": Registration(
        "route:RouteConstrained",
        "Jin et al. (2019)",
        "soft targets of the teacher as it was ever later in its own training",
    ),
    "born_again": Registration(
        "generations:BornAgain",
        "Furlanello et al. (2018)",
        "the student learns from its own previous generation; no teacher",
    ),
    "takd": Registration(
        "assistants:TeacherAssistant",
        "Mirzadeh et al. (2020)",
        "soft targets through a chain of assistants of middle size",
    ),
}


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register every method of `METHODS`."""
    for name, (target, source, summary) in METHODS.items():
        register(name, f"kdbench_online.{target}", family="online", source=source, summary=summary)
