"""Images: the suites `images` and `images-quick`, and the papers' benchmarks, suites whose names end in -paper."""

from __future__ import annotations

from collections.abc import Callable

import kdbench
from kdbench import Recipe
from kdbench_data import CIFAR10 as CIFAR10_FILES
from kdbench_data import CIFAR100 as CIFAR100_FILES
from kdbench_data import FASHION_MNIST
from kdbench_images import sources
from kdbench_images.cifar10 import CIFAR10, WRN
from kdbench_images.cifar100 import CIFAR, CIFAR100, CIFAR_LIGHT
from kdbench_images.imagenet_paper import IMAGENET, IMAGENET_1K
from kdbench_images.tiny_imagenet import TINY_IMAGENET

PARTS = (
    ("fashion-mnist-6k", "fashion_mnist_6k", "Fashion-MNIST, 6,000 to train on", 16000),
    ("fashion-mnist-1k", "fashion_mnist_1k", "Fashion-MNIST, 1,000 to train on", 12000),
)
FROM_HUB = (
    ("tiny-imagenet", "imagenets:tiny_imagenet", "Tiny-ImageNet, 64x64", sources.TINY_IMAGENET, 110000, 200),
    ("imagenet-1k", "imagenets:imagenet", "ImageNet-1k, 224x224", sources.IMAGENET, 1331167, 1000),
    ("imagenet-64", "imagenets:imagenet_64", "ImageNet-1k, 64x64", sources.IMAGENET, 1331167, 1000),
    ("cifar10-paper", "papers:cifar10", "CIFAR-10, 49,500 to train on", CIFAR10_FILES, 60000, 10),
    ("cifar100-paper", "papers:cifar100", "CIFAR-100, 49,500 to train on", CIFAR100_FILES, 60000, 100),
    (
        "tiny-imagenet-paper",
        "papers:tiny_imagenet",
        "Tiny-ImageNet, 99,000 to train on",
        sources.TINY_IMAGENET,
        110000,
        200,
    ),
    ("imagenet-paper", "papers:imagenet", "ImageNet-1k, 1,276,167 to train on", sources.IMAGENET, 1331167, 1000),
)

RECIPES = {
    "mnist": (
        Recipe(epochs=8, batch_size=128, lr=0.05, schedule="onecycle"),
        "SGD, one cycle, 8 epochs of 28x28 images",
    ),
    "few-images": (
        Recipe(epochs=12, batch_size=64, lr=0.05, schedule="onecycle", clip_norm=5.0),
        "SGD, one cycle, 12 epochs of a few thousand small images",
    ),
    "fashion": (
        Recipe(epochs=30, batch_size=128, lr=0.1, schedule="onecycle", augment=("crop", "flip")),
        "SGD, one cycle, 30 epochs with crops and flips of 28x28 images of things",
    ),
    "cifar": (CIFAR, "240 epochs of SGD in steps, with crops and flips: the papers' CIFAR recipe, last epoch"),
    "cifar-light": (CIFAR_LIGHT, "the papers' CIFAR recipe for MobileNets and ShuffleNets: a fifth of the rate"),
    "cifar-wrn": (WRN, "200 epochs of SGD in steps, with crops and flips: the recipe of wide residual networks"),
    "imagenet": (IMAGENET, "100 epochs of SGD in steps, with resized crops and flips: the papers' ImageNet recipe"),
}

SMALL = {"teacher": "cnn-l", "student": "cnn-s"}
FEW = ("scratch", "label_smoothing", "kd", "logit_mse", "fitnet")
"""Part of every `kdbench run --all`, as far as the data is there."""
MANY = (*FEW, "kd_tuned", "dkd", "dist", "lskd", "at", "sp", "rkd", "pkt", "vid", "crd")
"""The families side by side; beyond `FEW` on request only."""
QUICK = ("scratch", "label_smoothing", "kd", "dkd", "fitnet")

PAIRS: tuple[tuple[dict[str, str], str, tuple[str, ...]], ...] = (
    ({"dataset": "digits", **SMALL}, "standard", (*FEW, "dkd")),
    ({"dataset": "mnist-5k", **SMALL}, "few-images", MANY),
    ({"dataset": "fashion-mnist-1k", **SMALL}, "few-images", MANY),
    ({"dataset": "fashion-mnist-6k", **SMALL}, "few-images", MANY),
    ({"dataset": "mnist", **SMALL}, "mnist", MANY),
    ({"dataset": "fashion-mnist", **SMALL}, "mnist", MANY),
    ({"dataset": "fashion-mnist", "teacher": "resnet20", "student": "resnet8"}, "fashion", MANY),
)
QUICK_PAIRS = (
    {"dataset": "mnist-5k", "teacher": "cnn-m", "student": "cnn-s"},
    {"dataset": "fashion-mnist-6k", "teacher": "cnn-m", "student": "cnn-s"},
)
"""Beside the digits: a smaller teacher, which is most of the time."""


@kdbench.hookimpl
def kdbench_register_datasets(register: Callable[..., None]) -> None:
    """Stated parts of Fashion-MNIST and of the papers' sets; Tiny-ImageNet and ImageNet."""
    for name, factory, title, items in PARTS:
        register(
            name, f"kdbench_images.subsets:{factory}", task="multiclass", title=title, licence="MIT", modality="image",
            items=items, classes=10, sources=(FASHION_MNIST,), fix=f"kdbench data fetch {name}",
        )  # fmt: skip
    for name, target, title, source, items, classes in FROM_HUB:
        register(
            name, f"kdbench_images.{target}", task="multiclass", title=title, licence=source.licence, modality="image",
            items=items, classes=classes, sources=(source,), fix=f"kdbench data fetch {name}",
        )  # fmt: skip


@kdbench.hookimpl
def kdbench_register_recipes(register: Callable[..., None]) -> None:
    """How images are trained on; other plugins may use them too."""
    for name, (recipe, summary) in RECIPES.items():
        register(name, recipe, summary=summary)


@kdbench.hookimpl
def kdbench_register_combos(register: Callable[..., None]) -> None:
    """The suites `images` and `images-quick`, and the papers' benchmarks."""
    for pair, recipe, methods in PAIRS:
        for name, combo in kdbench.grid(methods=methods, recipes=[recipe], **pair):
            quick = combo.dataset == "digits" and combo.method in QUICK
            heavy = combo.dataset != "digits" and (combo.method not in FEW or combo.teacher != "cnn-l")
            register(name, combo, suites=["images", "images-quick"] if quick else ["images"], on_request=heavy)
    for pair in QUICK_PAIRS:
        for name, combo in kdbench.grid(methods=QUICK, recipes=["few-images"], **pair):
            register(name, combo, suites=["images-quick"], on_request=True)
    for benchmark in (CIFAR10, CIFAR100, TINY_IMAGENET, IMAGENET_1K):
        benchmark.register(register)
