"""The face-embedding network: its weights' format, its blocks against plain loops, and the real one on real faces."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from sklearn.metrics import roc_auc_score
from weights_files import entry, network_entries, write_weights

import kdbench
from kdbench.data import DatasetInfo
from kdbench_faces.embedding import FaceEmbedding, face_embedding, load_embedding
from kdbench_faces.pictures import orl_verification
from kdbench_faces.weights import MANIFEST, read_weights

ENTRIES = [entry("a/filters", [2, 3, 1, 2], scale=0.25, low=-1.5), entry("b", [4]), entry("c", [3], scale=1e-9)]


class TestWeights:
    def test_bytes_mean_scale_times_byte_plus_min_and_floats_themselves(self, tmp_path):
        expected = write_weights(tmp_path, ENTRIES)
        found = read_weights(tmp_path)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], values)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda content: content[:-2],
                r"numbers.bin is damaged\s+it ends in tensor 'c': byte 31 is needed, 29",
            ),
            (lambda content: content + b"1", r"numbers.bin is damaged\s+32 bytes, but the manifest's tensors take 31"),
        ],
    )
    def test_a_file_of_the_wrong_length_is_damaged(self, tmp_path, change, message):
        write_weights(tmp_path, ENTRIES)
        (tmp_path / "numbers.bin").write_bytes(change((tmp_path / "numbers.bin").read_bytes()))
        with pytest.raises(kdbench.InvalidData, match=message):
            read_weights(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[{}]", '[{"paths": ["numbers.bin"], "weights": [{"name": "a"}]}]', "3"])
    def test_what_is_no_manifest_is_refused(self, tmp_path, text):
        write_weights(tmp_path, ENTRIES)
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(kdbench.InvalidData, match=r"manifest.json is damaged\s+it is not a manifest"):
            read_weights(tmp_path)

    def test_numbers_of_another_kind_are_refused_by_tensor(self, tmp_path):
        write_weights(tmp_path, ENTRIES)
        manifest = json.loads((tmp_path / MANIFEST).read_text())
        manifest[0]["weights"][1]["dtype"] = "complex64"
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(kdbench.InvalidData, match="tensor 'b' is stored as 'complex64'"):
            read_weights(tmp_path)

    def test_a_missing_file_tells_how_to_get_it(self, tmp_path):
        write_weights(tmp_path, ENTRIES)
        (tmp_path / "numbers.bin").unlink()
        with pytest.raises(kdbench.DataNotAvailable, match="kdbench data fetch face-embedding"):
            read_weights(tmp_path)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The whole network with random weights, and what they are."""
    directory = tmp_path_factory.mktemp("weights")
    expected = write_weights(directory, network_entries())
    return load_embedding(directory), expected, directory


def plain_layer(x, weights, path, stride, padding):
    """A convolution and the scale of one picture (C, H, W), in float64."""
    filters, bias, scale, offset = (
        weights[f"{path}/{name}"].astype(np.float64)
        for name in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")
    )
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    whole = np.stack([correlate(x, filters[..., k].transpose(2, 0, 1), "valid")[0] for k in range(len(bias))])
    return (whole[:, ::stride, ::stride] + bias[:, None, None]) * scale[:, None, None] + offset[:, None, None]


class TestNetwork:
    def test_it_has_every_number_of_the_manifest(self, network):
        model, expected, _ = network
        assert sum(p.numel() for p in model.parameters()) == sum(v.size for v in expected.values()) == 5_614_592
        filters = expected["conv64_down/conv1/conv/filters"]
        taken = model.blocks["conv64_down"].conv1.conv.weight
        assert taken[5, 3, 2, 1] == filters[2, 1, 3, 5]
        assert model.fc.weight[7, 200] == expected["fc"][200, 7]

    @pytest.mark.parametrize(("name", "size"), [("conv32_2", 5), ("conv64_down", 7), ("conv64_down", 8)])
    def test_a_block_is_what_it_says(self, network, name, size):
        model, weights, _ = network
        x = np.random.default_rng(1).normal(size=(32, size, size))
        halves = "down" in name
        out = np.maximum(plain_layer(x, weights, f"{name}/conv1", 2 if halves else 1, 0 if halves else 1), 0)
        out = plain_layer(out, weights, f"{name}/conv2", 1, 1)
        added = x
        if halves:  # means of 2x2 pixels, channels of zeros; what the convolution is short of is zero too
            half = size // 2
            added = np.zeros((64, half, half))
            added[:32] = x[:, : 2 * half, : 2 * half].reshape(32, half, 2, half, 2).mean((2, 4))
            short, out = out, np.zeros_like(added)
            out[:, : short.shape[1], : short.shape[2]] = short
        expected = np.maximum(out + added, 0)
        with torch.inference_mode():
            found = model.blocks[name](torch.from_numpy(x[None]).float())[0].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    def test_grey_pictures_of_any_size_become_128_numbers(self, network):
        model, _, _ = network
        grey = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (2, 1, 30, 40))).float()
        with torch.inference_mode():
            found = model(grey)
            middle = model(grey[:, :, :, 5:35].expand(-1, 3, -1, -1))
        assert found.shape == (2, 128)
        torch.testing.assert_close(found, middle)

    def test_weights_of_another_network_are_refused_by_tensor(self, network, tmp_path):
        entries = network_entries()
        write_weights(tmp_path / "less", [one for one in entries if one["name"] != "conv128_2/conv2/conv/bias"])
        with pytest.raises(kdbench.InvalidData, match="no tensor 'conv128_2/conv2/conv/bias'"):
            load_embedding(tmp_path / "less")
        write_weights(tmp_path / "more", [*entries, entry("head", [2])])
        with pytest.raises(kdbench.InvalidData, match="nothing takes its tensor 'head'"):
            load_embedding(tmp_path / "more")
        write_weights(tmp_path / "other", [*entries[:-1], entry("fc", [128, 256], scale=1.0)])
        with pytest.raises(kdbench.InvalidData, match=r"tensor 'fc' is \(256, 128\), not \(128, 256\)"):
            load_embedding(tmp_path / "other")

    def test_inputs_that_are_no_pictures_are_refused(self):
        with pytest.raises(kdbench.ModelMismatch, match=r"cannot see view 'input' of dataset 'wine'"):
            face_embedding(DatasetInfo("wine", "retrieval", 128, (13,), 100))

    def test_features_are_the_last_blocks_of_each_width(self):
        assert FaceEmbedding().feature_layers == {
            "stage1": "blocks.conv32_3",
            "stage2": "blocks.conv64_3",
            "stage3": "blocks.conv128_2",
            "stage4": "blocks.conv256_2",
            "stage5": "blocks.conv256_down_out",
            "penultimate": "fc:input",
        }


def test_the_real_network_tells_unseen_people_apart_better_than_pixels_do(real_data, monkeypatch):
    real_data.fetch("face-embedding")
    monkeypatch.setenv("KDBENCH_CACHE", str(real_data.cache))
    data = orl_verification()
    few = (np.arange(400) % 10 < 4) & (data.labels % 2 == 0)  # four pictures of each of 20 people: 3,160 pairs
    model = face_embedding(DatasetInfo("orl-verification", "retrieval", 128, (1, 132, 132), 240, "photo"))
    with torch.inference_mode():
        embeddings = model(torch.from_numpy(data.views()["photo"][few]).float()).double().numpy()
    areas = [area(vectors, data.labels[few]) for vectors in (embeddings, data.views()["small"][few].reshape(80, -1))]
    assert areas[0] > 0.95
    assert areas[0] > areas[1] + 0.03


def area(vectors, people):
    """ROC AUC of the cosine over all pairs."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    one, other = np.triu_indices(len(unit), 1)
    return roc_auc_score(people[one] == people[other], (unit @ unit.T)[one, other])
