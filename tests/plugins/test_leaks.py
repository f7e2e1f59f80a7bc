"""Of every registered dataset that can be had here: what its splits share. What cannot is skipped by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import kdbench
from kdbench.errors import DataNotAvailable, FetchError
from kdbench.fetching.holdings import missing
from kdbench.plugins import load_plugins
from kdbench.testing import check_dataset

# Those with a scheme, as imagefolder:DIR, are a user's own files.
NAMES = [entry.name for entry in load_plugins().catalog.entries("dataset") if not entry.metadata.get("scheme")]
BUNDLED = {"digits", "wine", "breast-cancer", "wdbc", "mfeat", "orl-faces", "orl-verification", "digits-drift",
           "python-topics"}  # fmt: skip
HOURS = {"imagenet-1k", "imagenet-64"}  # to prepare; on hundreds of gigabytes
SMALL = 2_500_000  # bytes, of archives that a test may fetch
# Whose numbers are measures, fine enough that two items are not so alike by chance: no tokens, no few whole numbers.
MEASURES = {"digits", "wine", "breast-cancer", "wdbc", "mfeat", "orl-faces", "orl-verification", "digits-drift",
            "mnist-5k", "vehicle", "satellite"}  # fmt: skip
NEAR = 0.999


def alike(data: kdbench.Data) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The cosine of two items' standardised numbers, in the view in which they differ most."""
    views = []
    for array in data.views().values():
        vectors = np.asarray(array).reshape(len(array), -1).astype(np.float32)
        vectors = (vectors - vectors.mean(0)) / np.maximum(vectors.std(0), 1e-9)
        views.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
    return lambda a, b: np.minimum.reduce([vectors[a] @ vectors[b].T for vectors in views])


@pytest.fixture
def offline(monkeypatch):
    """Hub datasets are those that this machine has."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("name", NAMES)
def test_no_item_or_group_or_near_copy_is_in_two_splits(catalog, real_data, offline, monkeypatch, name):
    if name in HOURS:
        pytest.skip(f"{name} takes hours to prepare")
    monkeypatch.setenv("KDBENCH_CACHE", str(real_data.cache))
    entry = catalog.find("dataset", name)
    if entry.missing:
        pytest.skip(f"{name} needs {', '.join(entry.missing)}: {entry.install_command}")
    size = sum(source.size for source in missing(entry))
    if size > SMALL:
        pytest.skip(f"{name}: {size / 1e6:.0f} MB that are not in KDBENCH_TEST_DATA")
    if entry.sources:
        real_data.fetch(name)
    try:
        data = entry.load()()
    except (DataNotAvailable, FetchError) as error:
        assert name not in BUNDLED
        pytest.skip(str(error))
    check_dataset(entry.load(), similarity=alike(data) if name in MEASURES else None, threshold=NEAR)


@pytest.mark.parametrize("name", ["digits", "wine", "mfeat", "orl-verification"])
def test_a_copy_that_differs_by_less_than_noise_is_found(catalog, name):
    """The measure of likeness sees what it is for: an item put into another split, barely changed."""
    data = catalog.find("dataset", name).load()()
    views = {view: np.concatenate([array, array[:1]]).astype(np.float64) for view, array in data.views().items()}
    for array in views.values():
        array[-1] += 1e-3 * array.std(0)
    likeness = alike(kdbench.Data(views, np.append(data.labels, data.labels[:1]), data.classes))
    assert likeness(np.array([len(data.labels)]), np.array([0])).item() > NEAR
