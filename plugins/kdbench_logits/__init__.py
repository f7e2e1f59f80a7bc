"""Methods that compare logits: decoupled, correlated, standardised, re-weighted, or at a temperature that is learnt."""

from typing import NamedTuple

import kdbench


class Registration(NamedTuple):
    """Where a method is, and what a list of methods says of it."""

    target: str
    source: str
    summary: str


METHODS = {
    "kd_tuned": Registration(
        "weights:TunedSoftTargets",
        "Hinton et al. (2015)",
        "soft targets with a weight of their own: what a larger weight alone explains",
    ),
    "dkd": Registration(
        "decoupled:DecoupledKD",
        "Zhao et al. (2022)",
        "soft targets split into the label's part and that of the other classes",
    ),
    "dist": Registration(
        "relations:Dist",
        "Huang et al. (2022)",
        "Pearson correlation of the probabilities, over classes and over items",
    ),
    "lskd": Registration(
        "standardized:LogitStandardization",
        "Sun et al. (2024)",
        "kd or dkd on each item's standardised logits",
    ),
    "mlkd": Registration(
        "relations:MultiLevel",
        "Jin et al. (2023)",
        "soft targets, item and class similarities at several temperatures",
    ),
    "ctkd": Registration(
        "curriculum:CurriculumTemperature",
        "Li et al. (2023)",
        "soft targets at a temperature that learns to make them harder",
    ),
    "tf_kd": Registration(
        "virtual:VirtualTeacher",
        "Yuan et al. (2020)",
        "a hand-made teacher that is right with a fixed probability",
    ),
    "wsld": Registration(
        "weights:WeightedSoftLabels",
        "Zhou et al. (2021)",
        "soft targets, weaker for items that the student knows better than the teacher",
    ),
    "nkd": Registration(
        "decoupled:NormalizedKD",
        "Yang et al. (2023)",
        "the label weighted by the teacher's probability, the other classes normalised",
    ),
    "normkd": Registration(
        "standardized:NormalizedLogits",
        "Chi et al. (2023)",
        "soft targets at a temperature in proportion to each item's spread of logits",
    ),
    "ttm": Registration(
        "weights:TransformedTeacher",
        "Zheng & Yang (2024)",
        "a softened teacher matched by the student at temperature 1",
    ),
}


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register every method of `METHODS`."""
    for name, (target, source, summary) in METHODS.items():
        register(name, f"kdbench_logits.{target}", family="logit", source=source, summary=summary)
