"""Arrays remembered on disk: the same parts give the same arrays without making them again."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import kdbench
from kdbench.fetching.prepared import prepared_path

ARRAYS = {
    "inputs": np.arange(12, dtype=np.float32).reshape(3, 4),
    "zh-text": np.array(["学习", "wisdom"]),
    "none": np.zeros((0, 2), dtype=np.int64),
    "swapped": np.arange(3, dtype=">i4"),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "one": np.array(True),
}


def never():
    raise AssertionError("it was made again")


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_every_dtype_comes_back_as_it_was():
    same(kdbench.remember("words", {"size": 3}, lambda: ARRAYS), ARRAYS)
    same(kdbench.remember("words", {"size": 3}, never), ARRAYS)


@pytest.mark.parametrize(("name", "parts"), [("words", {"size": 4}), ("words", ["size", 3]), ("other", {"size": 3})])
def test_other_parts_or_another_name_are_made_anew(name, parts):
    kdbench.remember("words", {"size": 3}, lambda: ARRAYS)
    other = {"inputs": np.ones(1)}
    same(kdbench.remember(name, parts, lambda: other), other)


def test_the_order_of_keys_and_tuples_do_not_matter():
    assert prepared_path("a", {"x": 1, "y": (1, 2)}) == prepared_path("a", {"y": [1, 2], "x": 1})
    assert prepared_path("a", {"x": 1}) != prepared_path("a", {"x": 1.5})


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_made_again_with_a_warning(damage):
    kdbench.remember("words", 1, lambda: ARRAYS)
    path = prepared_path("words", 1)
    content = path.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    path.write_bytes({"cut": content[:-30], "flipped": flipped, "empty": b"", "other": b"hello"}[damage])
    with pytest.warns(UserWarning, match=r"words-.*\.npz is damaged .*it is made again"):
        same(kdbench.remember("words", 1, lambda: ARRAYS), ARRAYS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(kdbench.remember("words", 1, never), ARRAYS)


def test_what_raises_leaves_nothing(cache):
    with pytest.raises(AssertionError):
        kdbench.remember("words", 1, never)
    assert not prepared_path("words", 1).exists()
    assert list((cache / "tmp").iterdir()) == []


@pytest.mark.parametrize("given", [{"a": np.array([{}])}, {"a": [1, 2]}, {}, [np.zeros(1)], {1: np.zeros(1)}])
def test_only_arrays_by_name(given):
    with pytest.raises(kdbench.InvalidData, match=r"(?s)build\(\) must give NumPy arrays by name.*got "):
        kdbench.remember("words", 1, lambda: given)


def test_parts_must_be_json():
    with pytest.raises(kdbench.InvalidData, match="its parts cannot be written as JSON"):
        kdbench.remember("words", {"x": object()}, never)


def test_two_processes_make_it_once(made_by_two):
    code = (
        "import sys, time, numpy, kdbench\n"
        "def build():\n"
        "    open(sys.argv[1], 'a').write('made ')\n"
        "    time.sleep(0.5)\n"
        "    return {'x': numpy.arange(3)}\n"
        "print(kdbench.remember('slow', 1, build)['x'].tolist())\n"
    )
    assert made_by_two(code) == (["[0, 1, 2]\n"] * 2, "made ")
