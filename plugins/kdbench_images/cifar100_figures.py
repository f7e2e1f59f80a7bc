"""Published CIFAR-100 accuracies of the pairs that the papers share, in per cent, as their tables print them.

A figure that we could not read in the paper's own table, or in its authors' own listing, is not here.
"""

from __future__ import annotations

from kdbench_images.benchmark import Table

SAME = (
    "wrn-40-2->wrn-16-2", "wrn-40-2->wrn-40-1", "resnet56->resnet20", "resnet110->resnet20", "resnet110->resnet32",
    "resnet32x4->resnet8x4", "vgg13->vgg8",
)  # fmt: skip
"""The columns of CRD's table 1: one family."""
CROSS = (
    "vgg13->mobilenetv2", "resnet50->mobilenetv2", "resnet50->vgg8", "resnet32x4->shufflenetv1",
    "resnet32x4->shufflenetv2", "wrn-40-2->shufflenetv1",
)  # fmt: skip
"""The columns of CRD's table 2: two families."""

TEACHERS = {
    "wrn-40-2": 75.61, "resnet56": 72.34, "resnet110": 74.31, "resnet32x4": 79.42, "vgg13": 74.64, "resnet50": 79.34,
}  # fmt: skip
"""Their accuracies in CRD's tables; the other papers use the same ones."""

_SAME_TABLE = {
    "scratch": (73.26, 71.98, 69.06, 69.06, 71.14, 72.50, 70.36),
    "kd": (74.92, 73.54, 70.66, 70.67, 73.08, 73.33, 72.98),
    "fitnet": (73.58, 72.24, 69.21, 68.99, 71.06, 73.50, 71.02),
    "at": (74.08, 72.77, 70.55, 70.22, 72.31, 73.44, 71.43),
    "sp": (73.83, 72.43, 69.67, 70.04, 72.69, 72.94, 72.68),
    "cc": (73.56, 72.21, 69.63, 69.48, 71.48, 72.97, 70.71),
    "vid": (74.11, 73.30, 70.38, 70.16, 72.61, 73.09, 71.23),
    "rkd": (73.35, 72.22, 69.61, 69.25, 71.82, 71.90, 71.48),
    "pkt": (74.54, 73.45, 70.34, 70.25, 72.61, 73.64, 72.88),
    "ab": (72.50, 72.38, 69.47, 69.53, 70.98, 73.17, 70.94),
    "ft": (73.25, 71.59, 69.84, 70.22, 72.37, 72.86, 70.58),
    "fsp": (72.91, None, 69.95, 70.11, 71.89, 72.62, 70.23),
    "nst": (73.68, 72.24, 69.60, 69.53, 71.96, 73.30, 71.53),
    "crd": (75.48, 74.14, 71.16, 71.46, 73.48, 75.51, 73.94),
}
_CROSS_TABLE = {
    "scratch": (64.60, 64.60, 70.36, 70.50, 71.82, 70.50),
    "kd": (67.37, 67.35, 73.81, 74.07, 74.45, 74.83),
    "fitnet": (64.14, 63.16, 70.69, 73.59, 73.54, 73.73),
    "at": (59.40, 58.58, 71.84, 71.73, 72.73, 73.32),
    "sp": (66.30, 68.08, 73.34, 73.48, 74.56, 74.52),
    "cc": (64.86, 65.43, 70.25, 71.14, 71.29, 71.38),
    "vid": (65.56, 67.57, 70.30, 73.38, 73.40, 73.61),
    "rkd": (64.52, 64.43, 71.50, 72.28, 73.21, 72.21),
    "pkt": (67.13, 66.52, 73.01, 74.10, 74.69, 73.89),
    "ab": (66.06, 67.20, 70.65, 73.55, 74.31, 73.34),
    "ft": (61.78, 60.99, 70.29, 71.75, 72.50, 72.03),
    "nst": (58.16, 64.96, 71.28, 74.12, 74.68, 74.89),
    "crd": (69.73, 69.11, 74.30, 75.11, 75.65, 76.05),
}


TABLES = (
    Table(
        "Tian et al. (2020), table 1",
        "mean of 5 runs, 50,000 training items, last of 240 epochs, test split",
        {method: {p: v for p, v in zip(SAME, row, strict=True) if v} for method, row in _SAME_TABLE.items()},
        TEACHERS,
    ),
    Table(
        "Tian et al. (2020), table 2",
        "mean of 3 runs, 50,000 training items, last of 240 epochs, test split",
        {method: dict(zip(CROSS, row, strict=True)) for method, row in _CROSS_TABLE.items()},
        TEACHERS,
    ),
    Table(
        "Zhao et al. (2022), the CIFAR-100 tables",
        "mean over several runs, 50,000 training items, 240 epochs, best epoch on the test split in the authors' code",
        {
            "dkd": {
                "resnet56->resnet20": 71.97, "resnet110->resnet32": 74.11, "resnet32x4->resnet8x4": 76.32,
                "wrn-40-2->wrn-16-2": 76.24, "wrn-40-2->wrn-40-1": 74.81, "vgg13->vgg8": 74.68,
                "resnet32x4->shufflenetv1": 76.45, "wrn-40-2->shufflenetv1": 76.70, "vgg13->mobilenetv2": 69.71,
                "resnet50->mobilenetv2": 70.35, "resnet32x4->shufflenetv2": 77.07,
            }
        },
        TEACHERS,
    ),
    Table(
        "Chen et al. (2021, Knowledge Review), the CIFAR-100 tables",
        "50,000 training items, 240 epochs, test split; number of runs and epoch not known to us",
        {
            "reviewkd": {
                "resnet56->resnet20": 71.89, "resnet110->resnet32": 73.89, "resnet32x4->resnet8x4": 75.63,
                "wrn-40-2->wrn-16-2": 76.12, "wrn-40-2->wrn-40-1": 75.09, "resnet32x4->shufflenetv1": 77.45,
                "wrn-40-2->shufflenetv1": 77.14, "resnet32x4->shufflenetv2": 77.78,
            }
        },
        TEACHERS,
    ),
    Table(
        "Huang et al. (2022), the CIFAR-100 table",
        "50,000 training items, 240 epochs, test split; epoch not known to us",
        {
            "dist": {
                "resnet56->resnet20": 71.75, "resnet32x4->resnet8x4": 76.31, "resnet50->mobilenetv2": 68.66,
                "resnet32x4->shufflenetv2": 77.35,
            }
        },
        TEACHERS,
    ),
)  # fmt: skip
