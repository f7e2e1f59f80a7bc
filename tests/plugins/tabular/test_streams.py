"""Streams that drift, and the measure of a model that goes on learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate
from torch import nn

import kdbench
from kdbench.engine.datasets import prepare
from kdbench_data.bundled import digits
from kdbench_tabular import streams
from kdbench_tabular.prequential import PrequentialAccuracy


def test_digits_are_turned_by_their_time_and_split_by_it():
    drifting, still = streams.digits_drift(), digits()
    images, turned = still.views()["input"], drifting.views()["input"]
    np.testing.assert_allclose(turned[0], images[0], atol=1e-6)
    at = 900
    angle = 60 * at / (len(images) - 1)
    np.testing.assert_allclose(turned[at, 0], rotate(images[at, 0], angle, reshape=False, order=1), atol=1e-5)
    assert drifting.labels.tolist() == still.labels.tolist()
    ends = [int(np.flatnonzero(drifting.split == part).max()) for part in ("train", "validation", "test")]
    assert ends == [1077, 1347, 1796]
    assert np.all(np.diff(np.unique(drifting.split, return_index=True)[1][[1, 2, 0]]) > 0)


def test_no_digit_of_the_stream_is_in_two_splits():
    ready = prepare("digits-drift", streams.digits_drift(), fold=None, folds=None)
    parts = [part.index.tolist() for part in (ready.train, ready.validation, ready.test)]
    assert parts[0][-1] < parts[1][0] < parts[1][-1] < parts[2][0]
    still = digits().views()["input"].reshape(1797, -1)
    seen = {row.tobytes() for row in still[parts[0] + parts[1]]}
    assert not [position for position in parts[2] if still[position].tobytes() in seen]


def test_letters_move_by_their_time_and_copies_are_left_out_first(monkeypatch):
    stream = np.random.default_rng(0)
    letters = stream.integers(0, 16, size=(50, 16)).astype(np.float64)
    letters[7] = letters[3]
    data = kdbench.Data(letters, stream.integers(0, 3, 50), ["A", "B", "C"])
    monkeypatch.setattr(streams, "letter_recognition", lambda: data)
    drifting = streams.letter_drift()
    kept = np.delete(letters, 7, axis=0)
    assert drifting.labels.tolist() == np.delete(data.labels, 7).tolist()
    moved = drifting.views()["input"] - kept
    np.testing.assert_allclose(moved[0], 0)
    deviations = kept.std(0)
    np.testing.assert_allclose(moved[-1], [1.5 * s * (-1) ** column for column, s in enumerate(deviations)])
    np.testing.assert_allclose(moved[24], moved[-1] / 2)


def float64_prequential(weight, inputs, labels, items, lr):
    """Softmax regression without bias, part by part, by its own formula."""
    right = 0
    for start in range(0, len(labels), items):
        x, y = inputs[start : start + items], labels[start : start + items]
        logits = x @ weight.T
        right += (logits.argmax(1) == y).sum()
        p = np.exp(logits - logits.max(1, keepdims=True))
        p = p / p.sum(1, keepdims=True) - np.eye(len(weight))[y]
        weight = weight - lr * p.T @ x / len(y)
    return right / len(labels)


@pytest.mark.parametrize(("items", "lr"), [(1, 0.5), (32, 0.1), (7, 0.0), (1000, 0.1)])
def test_prequential_accuracy_is_that_of_answers_before_each_step(items, lr):
    stream = np.random.default_rng(1)
    inputs, labels = stream.normal(size=(200, 5)), stream.integers(0, 3, 200)
    model = nn.Linear(5, 3, bias=False).double()
    before = model.weight.detach().clone()
    metric = PrequentialAccuracy(f"items={items},lr={lr}")
    found = metric(model, torch.from_numpy(inputs), torch.from_numpy(labels))
    assert found == pytest.approx(float64_prequential(before.numpy(), inputs, labels, items, lr))
    assert model.weight.equal(before), "it is a copy that learns"


def test_it_rises_where_learning_on_follows_the_drift():
    labels = torch.arange(600) % 2
    inputs = torch.stack([labels * 2.0 - 1, torch.ones(600)], 1)
    inputs[300:, 0] *= -1  # what meant one class means the other from here on
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[-4.0, 0.0], [4.0, 0.0]])
    still, learning = (PrequentialAccuracy(f"items=10,lr={lr}")(model, inputs, labels) for lr in (0, 1))
    assert still == 0.5
    assert learning > 0.9


@pytest.mark.parametrize("text", ["items=0", "lr=-1", "rows=3", "items", "lr=fast"])
def test_settings_that_cannot_be_are_refused(text):
    with pytest.raises(kdbench.InvalidParameter, match="prequential_accuracy"):
        PrequentialAccuracy(text)
