"""The papers' datasets, split as near to their protocol as a validation split allows.

The papers train on all items and score the last epoch, for which no validation is needed. kdbench keeps a validation
split in any case: here a few training items of each class, which are watched and decide nothing.
"""

from __future__ import annotations

from dataclasses import replace

import kdbench
from kdbench_data import hub
from kdbench_images import imagenets
from kdbench_images.subsets import watched

IMAGENET_CHANNELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of red, green and blue that models published for ImageNet were trained with."""


def cifar10() -> kdbench.Data:
    """CIFAR-10, fifty training items of each class as validation. Raises: DataNotAvailable, InvalidData."""
    return watched("cifar10-paper", hub.cifar10(), 50)


def cifar100() -> kdbench.Data:
    """CIFAR-100, five training items of each class as validation. Raises: DataNotAvailable, InvalidData."""
    return watched("cifar100-paper", hub.cifar100(), 5)


def tiny_imagenet() -> kdbench.Data:
    """Tiny-ImageNet, five training items of each class as validation. Raises: DataNotAvailable, InvalidData."""
    return watched("tiny-imagenet-paper", imagenets.tiny_imagenet(), 5)


def imagenet() -> kdbench.Data:
    """ImageNet-1k in squares of 224 pixels, five training items of each class as validation.

    Its channels are standardised by the usual statistics and not by its own, as published weights expect them.
    Raises: DataNotAvailable, InvalidData, FetchError.
    """
    return replace(watched("imagenet-paper", imagenets.imagenet(), 5), channels=IMAGENET_CHANNELS)
