"""Views that stay on disk give the rows that views in memory hold, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.engine.disk_view import DiskView, batches_of, part_of
from kdbench.engine.preprocessing import moments_of, transformed

ARRAY = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 4), dtype=np.uint8)
ARRAY[:, 2] = 7  # a channel without variance
ITEMS = np.sort(np.random.default_rng(1).permutation(40)[:30])
MOMENTS = moments_of(ARRAY, ITEMS[:20], "image", what="")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory) -> np.memmap:
    path = tmp_path_factory.mktemp("mapped") / "pictures.npy"
    np.save(path, ARRAY)
    return np.load(path, mmap_mode="r")


def both(mapped, moments=MOMENTS) -> tuple[torch.Tensor, DiskView]:
    return transformed(ARRAY, ITEMS, "image", moments), DiskView(mapped, ITEMS, moments)


@given(st.lists(st.integers(0, 29), min_size=1, max_size=50))
def test_any_rows_are_those_of_the_tensor(mapped, rows):
    whole, view = both(mapped)
    index = torch.tensor(rows)
    assert view[index].equal(whole[index])
    assert view.part(index)[:].equal(whole[index])
    chosen = index.unique()
    assert part_of(view, chosen)[torch.arange(len(chosen))].equal(whole[chosen])


@given(st.integers(-35, 35), st.integers(-35, 35), st.integers(1, 7))
def test_slices_are_those_of_the_tensor(mapped, start, stop, step):
    whole, view = both(mapped)
    assert view[start:stop:step].equal(whole[start:stop:step])
    assert view.part(slice(start, stop, step))[:].equal(whole[start:stop:step])


@given(st.integers(1, 40))
def test_all_rows_a_few_at_a_time(mapped, size):
    whole, view = both(mapped)
    parts = list(view.split(size))
    assert [len(part) for part in parts] == [len(part) for part in whole.split(size)]
    assert torch.cat(parts).equal(whole)


@given(st.permutations(range(30)), st.integers(1, 30))
def test_batches_come_in_their_order(mapped, order, size):
    whole, view = both(mapped)
    index = torch.tensor(order).split(size)
    for one, other in zip(batches_of(whole, index, index), batches_of(view, index, index), strict=True):
        assert one.equal(other)
        assert one.is_contiguous() == other.is_contiguous()


def test_it_is_described_as_the_tensor_is(mapped):
    whole, view = both(mapped)
    assert (len(view), view.shape, view.dtype, view.device) == (len(whole), whole.shape, whole.dtype, whole.device)
    assert view[3].equal(whole[3])
    assert view[whole[:, 0, 0, 0] > 0].equal(whole[whole[:, 0, 0, 0] > 0])
    assert view.to(torch.device("meta"))[:2].device.type == "meta"


def test_without_preprocessing_bytes_are_only_converted(mapped):
    whole, view = both(mapped, None)
    assert view[:].equal(whole)


def test_a_batch_may_be_written_to_and_the_file_stays_as_it_is(mapped):
    _, view = both(mapped)
    view[:2].zero_()
    np.testing.assert_array_equal(mapped, ARRAY)


def test_who_stops_early_ends_the_reading(mapped):
    _, view = both(mapped)
    batches = view.split(1)
    next(batches)
    batches.close()
    assert list(batches) == []


def test_a_row_that_is_not_there_is_an_error(mapped):
    _, view = both(mapped)
    with pytest.raises(IndexError, match="out of bounds"):
        list(view.batches([torch.tensor([30])]))
