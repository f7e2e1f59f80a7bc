"""Classical compression of the teacher, as baselines beside distillation, and its combinations with distillation."""

from typing import NamedTuple

import kdbench


class Registration(NamedTuple):
    """Where a method is, and what a list of methods says of it."""

    target: str
    source: str
    summary: str


METHODS = {
    "prune_magnitude": Registration(
        "magnitude:PruneMagnitude",
        "Han et al. (2015), Zhu & Gupta (2017)",
        "the teacher's smallest weights set to zero step by step, the others trained on",
    ),
    "prune_structured": Registration(
        "channels:PruneStructured",
        "Li et al. (2017)",
        "the teacher without the channels of smallest L1 norm, trained on",
    ),
    "shrink_distil": Registration(
        "shrinking:ShrinkDistil",
        "Cai et al. (2020), Li et al. (2017)",
        "the teacher narrowed step by step, each size trained with soft targets of the whole teacher",
    ),
    "low_rank": Registration(
        "factors:LowRank",
        "Denton et al. (2014), Jaderberg et al. (2014)",
        "the teacher's layers each replaced by two thinner ones, trained on",
    ),
    "quant_dynamic": Registration(
        "integers:QuantDynamic",
        "Jacob et al. (2018)",
        "the teacher's linear layers in int8, activations quantised as they come",
    ),
    "quant_static": Registration(
        "integers:QuantStatic",
        "Jacob et al. (2018)",
        "the teacher in int8, with activation ranges seen on training items",
    ),
    "qat": Registration(
        "integers:QuantAware",
        "Jacob et al. (2018)",
        "the teacher trained on with the rounding of int8, then quantised",
    ),
    "prune_then_distil": Registration(
        "combined:PruneThenDistil",
        "Han et al. (2015), Hinton et al. (2015)",
        "prune_magnitude, trained on with soft targets of the unpruned teacher",
    ),
    "distil_then_quantise": Registration(
        "combined:DistilThenQuantise",
        "Hinton et al. (2015), Jacob et al. (2018)",
        "the student distilled with soft targets, then quantised to int8",
    ),
}
NEEDS_LIBRARY = {"prune_structured": "torch_pruning", "shrink_distil": "torch_pruning"}


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register every method of `METHODS`; what needs a library of its own is an extra."""
    for name, (target, source, summary) in METHODS.items():
        extra = {"requires": (NEEDS_LIBRARY[name],), "extra": "compression"} if name in NEEDS_LIBRARY else {}
        register(name, f"kdbench_compression.{target}", family="compression", source=source, summary=summary, **extra)
