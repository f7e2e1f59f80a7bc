"""Augmentations: what each may change, and that the generator decides them all."""

from __future__ import annotations

import pytest
import torch

import kdbench
from kdbench.engine.augment import augmentation

BATCH = torch.arange(64 * 2 * 8 * 8, dtype=torch.float32).reshape(64, 2, 8, 8) + 1


def applied(*names: str, seed: int = 0) -> torch.Tensor:
    return augmentation(names)(BATCH.clone(), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["flip", "crop", "resized-crop", "shift", "cutout", "noise"])
def test_shape_and_dtype_stay_and_the_generator_decides(name):
    result = applied(name)
    assert (result.shape, result.dtype) == (BATCH.shape, BATCH.dtype)
    assert result.equal(applied(name))
    assert not result.equal(applied(name, seed=1))
    assert not result.equal(BATCH)


def test_the_batch_itself_is_left_as_it_is():
    batch = BATCH.clone()
    augmentation(("flip", "crop", "resized-crop", "shift", "cutout", "noise"))(batch, torch.Generator().manual_seed(0))
    assert batch.equal(BATCH)


def test_about_half_of_the_items_are_flipped_and_the_others_are_not():
    flipped = [item.equal(source.flip(-1)) for item, source in zip(applied("flip"), BATCH, strict=True)]
    same = [item.equal(source) for item, source in zip(applied("flip"), BATCH, strict=True)]
    assert all(one != other for one, other in zip(flipped, same, strict=True))
    assert 16 < sum(flipped) < 48


@pytest.mark.parametrize(("name", "reach"), [("crop", 1), ("shift", 1)])
def test_each_item_is_moved_as_a_whole_and_zeros_come_in(name, reach):
    moves = set()
    for item, source in zip(applied(name), BATCH, strict=True):
        padded = torch.nn.functional.pad(source, (reach,) * 4)
        found = [
            (row, column)
            for row in range(2 * reach + 1)
            for column in range(2 * reach + 1)
            if item.equal(padded[:, row : row + 8, column : column + 8])
        ]
        assert len(found) == 1
        moves.add(found[0])
    assert len(moves) == 9, "every move happens in 64 items"


def test_cutout_zeroes_a_square_in_all_channels():
    for item, source in zip(applied("cutout"), BATCH, strict=True):
        hole = item[0] == 0
        assert hole.equal(item[1] == 0)
        rows, columns = hole.any(1).nonzero()[:, 0], hole.any(0).nonzero()[:, 0]
        assert 1 <= len(rows) <= 2
        assert 1 <= len(columns) <= 2
        assert int(hole.sum()) == len(rows) * len(columns)
        assert item[:, ~hole].equal(source[:, ~hole])


def boxes(places: torch.Tensor) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of each crop, told by crops of pictures whose values are where their pixels are."""
    found = []
    for rows, columns in places:
        edges = [(int(side.min().round()), int(side.max().round())) for side in (rows, columns)]
        found.append((edges[0][0], edges[1][0], edges[0][1] - edges[0][0] + 1, edges[1][1] - edges[1][0] + 1))
    return found


@pytest.mark.parametrize("shape", [(32, 32), (20, 31), (9, 40)], ids=str)
def test_a_resized_crop_is_a_box_cut_out_and_scaled_to_the_images_size(shape):
    crop, items = augmentation(("resized-crop",)), 300
    place = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).double().expand(items, -1, -1, -1)
    pictures = torch.randn(items, 3, *shape, dtype=torch.float64)
    result = crop(pictures, torch.Generator().manual_seed(5))
    found = boxes(crop(place, torch.Generator().manual_seed(5)))
    for picture, cropped, (top, left, height, width) in zip(pictures, result, found, strict=True):
        box = picture[None, :, top : top + height, left : left + width]
        scaled = torch.nn.functional.interpolate(box, shape, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(cropped, scaled, rtol=0, atol=1e-9)
    assert len(set(found)) > items / 2


def test_areas_and_aspects_of_resized_crops_are_uniform_in_their_ranges():
    items, side = 1000, 100
    place = torch.stack(torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij")).float().expand(items, -1, -1, -1)
    found = boxes(augmentation(("resized-crop",))(place, torch.Generator().manual_seed(0)))
    area = torch.tensor([height * width / side**2 for _, _, height, width in found])
    aspect = torch.tensor([width / height for _, _, height, width in found])
    assert 0.075 < area.min() < 0.1
    assert 0.95 < area.max() <= 1
    assert 0.73 < aspect.min() < 0.78
    assert 1.29 < aspect.max() < 1.37
    assert (aspect.log() > 0).float().mean() == pytest.approx(0.5, abs=0.05)
    assert (area[area < 0.5] < 0.29).float().mean() == pytest.approx(0.5, abs=0.05), "small ones always fit"
    for start, length in ((0, 2), (1, 3)):
        reach = [box[start] / (side - box[length]) for box in found if box[length] < 60]
        assert sum(reach) / len(reach) == pytest.approx(0.5, abs=0.03)


def test_of_an_image_that_no_draw_fits_the_middle_is_taken():
    strip = torch.arange(100.0).expand(8, 1, 2, 100)
    result = augmentation(("resized-crop",))(strip, torch.Generator().manual_seed(0))
    torch.testing.assert_close(result.amin((1, 2, 3)), torch.full((8,), 48.0), msg="3 columns: 4:3 of 2 rows")
    torch.testing.assert_close(result.amax((1, 2, 3)), torch.full((8,), 50.0))


def test_noise_has_its_deviation():
    noise = applied("noise") - BATCH
    assert float(noise.std()) == pytest.approx(0.1, rel=0.1)


def test_several_are_applied_in_order():
    stream = torch.Generator().manual_seed(3)
    step = augmentation(("crop",))(augmentation(("flip",))(BATCH, stream), stream)
    assert step.equal(augmentation(("flip", "crop"))(BATCH, torch.Generator().manual_seed(3)))


def test_an_unknown_name_and_data_that_is_no_image_are_refused():
    with pytest.raises(kdbench.InvalidParameter, match=r"(?s)unknown augmentation 'flop'.*did you mean 'flip'"):
        augmentation(("flop",))
    with pytest.raises(kdbench.InvalidData, match=r"(?s)'crop' needs images.*recipe\.augment="):
        augmentation(("crop",))(torch.zeros(4, 3), torch.Generator())
    assert augmentation(("noise",))(torch.zeros(4, 3), torch.Generator()).shape == (4, 3)
