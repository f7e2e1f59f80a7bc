"""Texts in windows: what is refused, what stays together, and scores of wholes against plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import nn

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.engine.evaluate import evaluate
from kdbench.engine.leaks import leaks
from kdbench.engine.peers import Peers
from kdbench.engine.span_metrics import answered, right_spans, score_spans
from kdbench.engine.tasks import Truth, kind_of
from kdbench.engine.views import Views

PLACES, LENGTH, STRIDE = 6, 5, 2
"""A window's places are "no answer" and five tokens of the text."""


def windows(sizes: list[int], answers: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and parts of texts of those sizes, all windows in order."""
    labels, parts = [], []
    for whole, (size, (first, last)) in enumerate(zip(sizes, answers, strict=True)):
        start = 0
        while True:
            inside = start <= first and last < start + LENGTH
            labels.append((first - start + 1, last - start + 1) if inside else (0, 0))
            parts.append((whole, start))
            if start + LENGTH >= size:
                break
            start += STRIDE
    return np.array(labels), np.array(parts)


def texts(count: int = 30, **changes: Any) -> kdbench.Data:
    chance = np.random.RandomState(1)
    sizes = chance.randint(3, 12, size=count).tolist()
    firsts = [int(chance.randint(size)) for size in sizes]
    labels, parts = windows(sizes, [(first, first) for first in firsts])
    inputs = chance.randint(1, 10_000, size=(len(labels), 8))
    return kdbench.Data(
        **{"inputs": inputs, "labels": labels, "classes": ["no answer", *map(str, range(LENGTH))], "task": "span-qa",
           "preprocess": "none", "parts": parts, **changes}
    )  # fmt: skip


def ready(data: kdbench.Data):
    return prepare("texts", data, fold=None, folds=None)


@st.composite
def said(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of a student and of a teacher, labels and parts, of windows in any order."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    firsts = [draw(st.integers(0, size - 1)) for size in sizes]
    answers = [(first, min(first + draw(st.integers(0, LENGTH - STRIDE)), size - 1))
               for first, size in zip(firsts, sizes, strict=True)]  # fmt: skip
    labels, parts = windows(sizes, answers)
    count = len(labels) * 2 * PLACES
    weights = [
        np.array(draw(st.lists(st.integers(1, 4), min_size=count, max_size=count)), float).reshape(-1, 2, PLACES)
        for _ in range(2)
    ]
    order = draw(st.permutations(range(len(labels))))
    ends, teacher = ((each / each.sum(-1, keepdims=True))[order] for each in weights)
    return ends, teacher, labels[order], parts[order]


def worth_by_loops(ends: np.ndarray, parts: np.ndarray) -> dict[int, dict[tuple[int, int], float]]:
    """Of each whole, what every span of its text is worth in the window that makes it most probable."""
    worth: dict[int, dict[tuple[int, int], float]] = {}
    for (first, last), (whole, start) in zip(ends, parts.tolist(), strict=True):
        spans = worth.setdefault(whole, {})
        for i in range(1, PLACES):
            for j in range(i, PLACES):
                span = (start + i - 1, start + j - 1)
                spans[span] = max(spans.get(span, 0.0), first[i] * last[j])
    return worth


@given(said())
def test_scores_are_those_of_plain_loops_over_each_wholes_windows(drawn):
    ends, teacher, labels, parts = drawn
    right, worth = {}, worth_by_loops(ends, parts)
    for (first, last), (whole, start) in zip(labels.tolist(), parts.tolist(), strict=True):
        if first > 0:
            right[whole] = (start + first - 1, start + last - 1)
    wholes = sorted(worth)
    assert list(map(tuple, right_spans(labels, parts).tolist())) == [right[whole] for whole in wholes]
    found = list(map(tuple, answered(ends, parts).tolist()))
    for whole, span in zip(wholes, found, strict=True):
        assert worth[whole][span] == max(worth[whole].values())  # of equally good ones any
    overlaps, losses = [], []
    for whole, (i, j) in zip(wholes, found, strict=True):
        given, correct = set(range(i, j + 1)), set(range(right[whole][0], right[whole][1] + 1))
        overlaps.append(2 * len(given & correct) / (len(given) + len(correct)))
        own = [-(math.log(e[0][k]) + math.log(e[1][m])) / 2
               for e, (k, m), (w, _) in zip(ends, labels, parts, strict=True) if w == whole]  # fmt: skip
        losses.append(sum(own) / len(own))
    scores = score_spans(ends, labels, teacher, parts)
    assert scores["accuracy"] == pytest.approx(np.mean([s == right[w] for w, s in zip(wholes, found, strict=True)]))
    assert scores["span_f1"] == pytest.approx(np.mean(overlaps))
    assert scores["log_loss"] == pytest.approx(np.mean(losses))
    theirs = list(map(tuple, answered(teacher, parts).tolist()))
    assert scores["agreement"] == pytest.approx(np.mean([a == b for a, b in zip(found, theirs, strict=True)]))


@given(said())
def test_a_text_of_one_window_is_scored_as_a_text_without_windows(drawn):
    ends, _, labels, parts = drawn
    single = np.flatnonzero((np.bincount(parts[:, 0])[parts[:, 0]] == 1) & (labels[:, 0] > 0))
    if not len(single):
        return
    single = single[np.argsort(parts[single, 0])]
    text = ends[single][:, :, 1:]
    assert (answered(text) == answered(ends[single], parts[single])).all()
    one, other = score_spans(text, labels[single] - 1), score_spans(ends[single], labels[single], None, parts[single])
    assert one["accuracy"] == other["accuracy"]
    assert one["span_f1"] == other["span_f1"]


def test_a_window_that_leaves_its_probability_to_no_answer_is_beaten_by_one_that_does_not():
    parts = np.array([[0, 0], [0, 2]])
    sure = np.array([[0.02, 0.9, 0.02, 0.02, 0.02, 0.02]] * 2)
    doubtful = np.array([[0.9, 0.0, 0.0, 0.1, 0.0, 0.0]] * 2)
    assert answered(np.stack([sure, doubtful]), parts).tolist() == [[0, 0]]
    assert answered(np.stack([doubtful, sure]), parts).tolist() == [[2, 2]]


@given(said(), st.integers(0, 2**16))
def test_training_sees_the_same_loss_and_hits_as_the_scores_tell(drawn, seed):
    *_, labels, parts = drawn
    kind = kind_of("span-qa")
    logits = torch.randn(len(labels), 2, PLACES, generator=torch.Generator().manual_seed(seed))
    truth = Truth(torch.from_numpy(labels), parts=torch.from_numpy(parts))
    loss, hits, count = kind.sums(logits, truth)
    answers = kind.answers(logits, truth)
    scores, kept = kind.score(answers), kind.kept(answers)
    assert count == len(set(parts[:, 0].tolist())) == len(kept["predicted"]) == len(kept["labels"])
    assert float(loss) / count == pytest.approx(scores["log_loss"], rel=1e-4)
    assert float(hits) / count == pytest.approx(scores["accuracy"])
    assert (kept["predicted"] == kept["labels"]).all(1).mean() == pytest.approx(scores["accuracy"])


class Share(Peers):
    """One of two processes, without the other: what it would add is kept."""

    def __init__(self, rank: int, others: list[torch.Tensor]) -> None:
        super().__init__()
        self.rank, self.size, self.others = rank, 2, others

    def add(self, values: torch.Tensor) -> torch.Tensor:
        self.mine = values.clone()
        return values + sum(self.others)


class Embedded(nn.Module):
    """Logits that depend on the tokens alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x[:, :2, None] * torch.arange(1.0, PLACES + 1))


def test_processes_that_share_a_split_keep_wholes_together():
    split = ready(texts()).train
    views = Views.of(split, "input", "input", torch.device("cpu"), "span-qa")
    fabric = Fabric(accelerator="cpu", devices=1)
    first = Share(0, [])
    evaluate(Embedded(), views, fabric, first)
    together = evaluate(Embedded(), views, fabric, Share(1, [first.mine]))
    assert together == pytest.approx(evaluate(Embedded(), views, fabric), rel=1e-5)


def test_a_whole_is_in_one_split_with_all_of_its_parts():
    data = texts()
    dataset = ready(data)
    seen = [set(part.parts[:, 0].tolist()) for part in (dataset.train, dataset.validation, dataset.test)]
    assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen)) == 30
    assert dataset.removed == 0
    assert not list(leaks(data, dataset))


def test_a_whole_in_two_splits_is_told_as_a_leak():
    data = texts()
    told = list(leaks(texts(parts=data.parts * [0, 1]), ready(data)))
    assert f"whole {data.parts[0, 0]!r} is in both the train and the test split" in told


def test_a_copy_of_a_window_takes_its_whole_out_of_training_and_leaves_the_test_split_as_it_is():
    data = texts()
    wholes = data.parts[:, 0]
    split = np.where(wholes % 5 == 0, "test", "train")
    several = [w for w in range(30) if (wholes == w).sum() > 1]
    tested, trained = (next(w for w in several if (w % 5 == 0) == test) for test in (True, False))
    inputs, labels = data.inputs.copy(), data.labels
    one = next(item for item in np.flatnonzero(wholes == tested) if labels[item, 0] == 0)
    other = next(item for item in np.flatnonzero(wholes == trained) if labels[item, 0] == 0)
    inputs[other] = inputs[one]
    dataset = ready(texts(inputs=inputs, split=split))
    assert dataset.removed == (wholes == trained).sum() > 1
    assert set(dataset.test.index.tolist()) == set(np.flatnonzero(split == "test").tolist())
    assert not set(dataset.train.index.tolist()) & set(np.flatnonzero(wholes == trained).tolist())


def test_equal_windows_of_one_text_stay():
    data = texts()
    inputs, whole = data.inputs.copy(), data.parts[-1, 0]
    inputs[data.parts[:, 0] == whole] = 7
    assert ready(texts(inputs=inputs)).removed == 0


def test_where_the_windows_begin_is_of_the_fingerprint_and_their_wholes_names_are_not():
    data = texts()
    assert ready(data).fingerprint == ready(texts(parts=data.parts * [3, 1] + [5, 0])).fingerprint
    assert ready(data).fingerprint != ready(texts(parts=data.parts + np.array([0, 1]))).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"parts": d.parts[:, 0]}, "parts are not two non-negative integers"),
        (lambda d: {"parts": d.parts.astype(float)}, "parts are not two non-negative integers"),
        (lambda d: {"parts": -d.parts - 1}, "parts are not two non-negative integers"),
        (lambda d: {"parts": d.parts[1:]}, "parts are not two non-negative integers"),
        (lambda d: {"labels": d.labels * [0, 1]}, "an answer begins at place 0"),
        (lambda d: {"labels": np.zeros_like(d.labels)}, "no part of a whole holds its answer\n  whole 0"),
        (lambda d: {"parts": d.parts * [0, 1]}, r"two parts of whole 0 have different answers\n  item \d+ has"),
        (lambda d: {"split": np.where(np.arange(len(d.labels)) % 2, "train", "test")}, "of two official splits"),
        (lambda d: {"groups": np.arange(len(d.labels)) % 7}, "parts of one whole are of two groups"),
        (lambda d: {"task": "multiclass", "labels": d.labels[:, 0]}, "has parts, and is not of spans"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(kdbench.InvalidData, match=message):
        ready(texts(**change(texts())))
