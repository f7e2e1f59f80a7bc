"""The suite `cifar100-paper`: the pairs, recipes and weights of the CIFAR-100 benchmark of Tian et al. (2020)."""

from __future__ import annotations

from typing import Any

import msgspec

from kdbench import Recipe
from kdbench_images.benchmark import Benchmark
from kdbench_images.cifar100_figures import CROSS, SAME, TABLES

METHODS = (
    "scratch", "kd", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "fsp", "nst", "crd",
    "dkd", "dist", "reviewkd", "simkd",
)  # fmt: skip
CIFAR = Recipe(
    epochs=240,
    batch_size=64,
    lr=0.05,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    milestones=(150 / 240, 180 / 240, 210 / 240),
    gamma=0.1,
    augment=("crop", "flip"),
    select="last",
)
CIFAR_LIGHT = msgspec.structs.replace(CIFAR, lr=0.01)
"""For students of the MobileNet and ShuffleNet families."""

WEIGHTS: dict[str, dict[str, Any]] = {
    "kd": {"temperature": 4.0, "alpha": 0.9},
    "fitnet": {"weight": 100.0},
    "at": {"weight": 1000.0},
    "sp": {"weight": 3000.0},
    "vid": {"weight": 1.0},
    "rkd": {"distance_weight": 25.0, "angle_weight": 50.0},
    "pkt": {"weight": 3e4},
    "ab": {"first_stage": 30 / 240},
    "ft": {"weight": 200.0},
    "fsp": {"weight": 50.0, "first_stage": 30 / 240},
    "nst": {"weight": 50.0},
    "crd": {"weight": 0.8, "temperature": 0.07, "size": 128, "negatives": 16384, "momentum": 0.5},
    "dist": {"beta": 2.0, "gamma": 2.0, "temperature": 4.0},
}
"""The weights of the benchmark's own script; what it does not say is kdbench's default.

`cc` keeps kdbench's: the benchmark's weight of 0.02 belongs to another loss than the paper's, under the same name.
"""
DKD_BETA = {
    "resnet56->resnet20": 2.0, "resnet110->resnet32": 2.0, "wrn-40-2->wrn-16-2": 6.0, "wrn-40-2->wrn-40-1": 6.0,
    "vgg13->vgg8": 6.0, "vgg13->mobilenetv2": 6.0,
}  # fmt: skip
"""β by pair in the authors' configurations; 8 for the others."""
REVIEW_WEIGHT = {
    "resnet56->resnet20": 0.6, "resnet110->resnet32": 1.0, "wrn-40-2->wrn-16-2": 5.0, "wrn-40-2->wrn-40-1": 5.0,
    "resnet32x4->resnet8x4": 5.0, "resnet32x4->shufflenetv1": 5.0, "resnet32x4->shufflenetv2": 8.0,
    "wrn-40-2->shufflenetv1": 5.0,
}  # fmt: skip
"""By pair, in the authors' script; kdbench's default for the others."""


def params(pair: str, method: str) -> dict[str, Any]:
    """The hyper-parameters of a method on `teacher->student`."""
    if method == "dkd":
        return {"beta": DKD_BETA.get(pair, 8.0)}
    if method == "reviewkd" and pair in REVIEW_WEIGHT:
        return {"weight": REVIEW_WEIGHT[pair]}
    return WEIGHTS.get(method, {})


def methods(pair: str) -> list[str]:
    """Those that can run on the pair.

    `fsp` compares maps of equal widths, as in the benchmark; a ShuffleNetV2's blocks end in a concatenation, of which
    `ab` finds no value before the activation.
    """
    left_out = set() if pair in SAME and pair != "wrn-40-2->wrn-40-1" else {"fsp"}
    left_out |= {"ab"} if pair.endswith("->shufflenetv2") else set()
    return [method for method in METHODS if method not in left_out]


def recipe(student: str) -> str:
    """The name of the recipe that trains a student."""
    return "cifar-light" if student.startswith(("mobilenet", "shufflenet")) else "cifar"


CIFAR100 = Benchmark("cifar100-paper", (*SAME, *CROSS), methods, params, recipe, "cifar", TABLES)
