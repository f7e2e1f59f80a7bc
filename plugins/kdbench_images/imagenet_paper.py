"""The suite `imagenet-paper`: the two pairs that the papers share on ImageNet, with their recipe and authors' weights.

A figure that we could not find in its authors' own listing, or repeated in that of others, is not here.
"""

from __future__ import annotations

from typing import Any

from kdbench import Recipe
from kdbench_images.benchmark import Benchmark, Table

SAME = "imagenet-resnet34->imagenet-resnet18"
CROSS = "imagenet-resnet50->imagenet-mobilenetv1"
METHODS = ("scratch", "kd", "at", "ofd", "crd", "reviewkd", "dkd", "dist")
IMAGENET = Recipe(
    epochs=100,
    batch_size=256,
    lr=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="step",
    milestones=(30 / 100, 60 / 100, 90 / 100),
    gamma=0.1,
    augment=("resized-crop", "flip"),
    select="last",
)
STAGES = ("stage1", "stage2", "stage3", "stage4")


def _layers(*names: str) -> dict[str, Any]:
    return {"student_layers": names, "teacher_layers": names}


WEIGHTS: dict[str, dict[str, Any]] = {
    "kd": {"temperature": 1.0, "alpha": 0.5},
    "at": {"weight": 1000.0, **_layers(*STAGES)},
    "ofd": {"weight": 1e-4, **_layers(*(f"{stage}:pre" for stage in STAGES))},
    "crd": {"weight": 0.8, "temperature": 0.07, "size": 128, "negatives": 16384, "momentum": 0.5},
    "dkd": {"temperature": 1.0, "alpha": 1.0, "warmup": 1},
    "reviewkd": {"warmup": 1, **_layers(*STAGES, "penultimate")},
    "dist": {"beta": 2.0, "gamma": 2.0, "temperature": 1.0},
}
"""Of kd, dkd, reviewkd and crd those of Zhao et al.'s configurations, of at, ofd and dist those of their authors."""
OF_PAIR: dict[str, dict[str, dict[str, Any]]] = {
    SAME: {"dkd": {"beta": 0.5}, "reviewkd": {"weight": 1.0, "width": 512}},
    CROSS: {"dkd": {"beta": 2.0}, "reviewkd": {"weight": 8.0, "width": 256}},
}

UNKNOWN = "100 epochs, validation split; number of runs and epoch not known to us"
TEACHERS = {"imagenet-resnet34": 73.31, "imagenet-resnet50": 76.16}
"""Of torchvision, which the papers share; but for those of `at`, whose figure we do not know."""
TABLES = (
    Table(
        "Huang et al. (2022), their ImageNet listing",
        "torchvision's own weights: one run of 90 epochs, validation split",
        {"scratch": {SAME: 69.76}},
        TEACHERS,
    ),
    Table(
        "Heo et al. (2019, overhaul), their ImageNet listing",
        UNKNOWN,
        {"scratch": {CROSS: 31.13}, "ofd": {CROSS: 28.75}},
        {"imagenet-resnet50": 23.84},
        errors=True,
    ),
    Table(
        "Zagoruyko & Komodakis (2017), their ImageNet listing",
        f"another ResNet-34 than torchvision's; {UNKNOWN}",
        {"at": {SAME: 29.3}},
        {},
        errors=True,
    ),
    Table(
        "Zhao et al. (2022), their ImageNet listing",
        "batches of 512 at twice the rate, best of 100 epochs on the validation split in the authors' code; number of "
        "runs not known to us",
        {"kd": {SAME: 71.03, CROSS: 70.50}, "dkd": {SAME: 71.70, CROSS: 72.05}},
        TEACHERS,
    ),
    Table("Tian et al. (2020), the ImageNet table", UNKNOWN, {"crd": {SAME: 71.17}}, TEACHERS),
    Table(
        "Chen et al. (2021, Knowledge Review), the ImageNet table",
        UNKNOWN,
        {"reviewkd": {SAME: 71.61, CROSS: 72.56}},
        TEACHERS,
    ),
    Table("Huang et al. (2022), their ImageNet listing", UNKNOWN, {"dist": {SAME: 72.07}}, TEACHERS),
)


def params(pair: str, method: str) -> dict[str, Any]:
    """The hyper-parameters of a method on `teacher->student`."""
    return {**WEIGHTS.get(method, {}), **OF_PAIR[pair].get(method, {})}


IMAGENET_1K = Benchmark(
    "imagenet-paper", (SAME, CROSS), lambda pair: list(METHODS), params, lambda student: "imagenet", "imagenet", TABLES
)
