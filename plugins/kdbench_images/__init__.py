"""Images: the suites `images` and `images-quick`, and the papers' CIFAR-100 benchmark as `cifar100-paper`."""

from __future__ import annotations

from collections.abc import Callable

import kdbench
from kdbench import Recipe
from kdbench_data import CIFAR100, FASHION_MNIST
from kdbench_images import figures, paper
from kdbench_images.sources import IMAGENET, TINY_IMAGENET

PARTS = (
    ("fashion-mnist-6k", "fashion_mnist_6k", "Fashion-MNIST, 6,000 to train on", 16000),
    ("fashion-mnist-1k", "fashion_mnist_1k", "Fashion-MNIST, 1,000 to train on", 12000),
)
FROM_HUB = (
    ("cifar100-paper", "subsets:cifar100_paper", "CIFAR-100, 49,500 to train on", CIFAR100, 60000, 100),
    ("tiny-imagenet", "imagenets:tiny_imagenet", "Tiny-ImageNet, 64x64", TINY_IMAGENET, 110000, 200),
    ("imagenet-1k", "imagenets:imagenet", "ImageNet-1k, 224x224", IMAGENET, 1331167, 1000),
    ("imagenet-64", "imagenets:imagenet_64", "ImageNet-1k, 64x64", IMAGENET, 1331167, 1000),
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
    "cifar": (paper.CIFAR, "240 epochs of SGD in steps, with crops and flips: the papers' CIFAR recipe, last epoch"),
    "cifar-light": (paper.CIFAR_LIGHT, "the papers' CIFAR recipe for MobileNets and ShuffleNets: a fifth of the rate"),
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
    """Stated parts of Fashion-MNIST and CIFAR-100; Tiny-ImageNet and ImageNet."""
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
    """The suites `images` and `images-quick`, and the papers' benchmark, which takes a GPU and is run on request."""
    for pair, recipe, methods in PAIRS:
        for name, combo in kdbench.grid(methods=methods, recipes=[recipe], **pair):
            quick = combo.dataset == "digits" and combo.method in QUICK
            heavy = combo.dataset != "digits" and (combo.method not in FEW or combo.teacher != "cnn-l")
            register(name, combo, suites=["images", "images-quick"] if quick else ["images"], on_request=heavy)
    for pair in QUICK_PAIRS:
        for name, combo in kdbench.grid(methods=QUICK, recipes=["few-images"], **pair):
            register(name, combo, suites=["images-quick"], on_request=True)
    for pair in (*figures.SAME, *figures.CROSS):
        _register_paper(register, pair)


def _register_paper(register: Callable[..., None], pair: str) -> None:
    teacher, _, student = pair.partition("->")
    methods = [method for method in paper.METHODS if paper.serves(pair, method)]
    for name, combo in kdbench.grid(
        methods=methods,
        recipes=[paper.recipe(student)],
        params={method: paper.params(pair, method) for method in methods},
        dataset=paper.DATASET,
        teacher=teacher,
        student=student,
        teacher_recipe="cifar",
    ):
        figure = figures.published(pair, combo.method)
        register(name, combo, suites=[paper.SUITE], on_request=True, published=() if figure is None else figure)
