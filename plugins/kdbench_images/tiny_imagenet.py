"""The suite `tiny-imagenet-paper`: pairs of the CIFAR-100 benchmark on Tiny-ImageNet, with its recipe and weights.

There are no figures: those that papers print differ in recipe, augmentation and input size, and none is of this one.
"""

from __future__ import annotations

from kdbench_images import cifar100
from kdbench_images.benchmark import Benchmark

PAIRS = ("resnet32x4->resnet8x4", "wrn-40-2->wrn-16-2", "vgg13->vgg8")
TINY_IMAGENET = Benchmark(
    "tiny-imagenet-paper", PAIRS, cifar100.methods, cifar100.params, cifar100.recipe, teacher_recipe="cifar"
)
