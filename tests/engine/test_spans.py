"""Span tasks: what is refused, the best span against every span, scores against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.engine.span_metrics import best_spans, score_spans
from kdbench.engine.tasks import Truth, kind_of
from kdbench.errors import Diverged

ITEMS, PLACES = 40, 6
RANDOM = np.random.RandomState(0)


def texts(**changes: object) -> kdbench.Data:
    first = RANDOM.randint(PLACES, size=ITEMS)
    labels = np.stack([first, np.minimum(first + 1, PLACES - 1)], axis=1)
    inputs = RANDOM.randint(50, size=(ITEMS, 9))
    return kdbench.Data(
        **{"inputs": inputs, "labels": labels, "classes": list(map(str, range(PLACES))), "task": "span-qa",
           "preprocess": "none", **changes}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(ITEMS, int), "not two integers per item"),
        (np.zeros((ITEMS, 2)), "not two integers per item"),
        (np.full((ITEMS, 2), PLACES), r"item 0 has \[6, 6\]"),
        (np.tile([3, 2], (ITEMS, 1)), r"no span of its 6 places\n  item 0 has \[3, 2\]"),
        (np.full((ITEMS, 2), -1), "no span of its 6 places"),
    ],
)
def test_answers_that_are_no_spans_are_refused(labels, message):
    with pytest.raises(kdbench.InvalidData, match=message):
        prepare("texts", texts(labels=labels), fold=None, folds=None)


def test_what_a_model_is_told_is_how_many_places_there_are():
    info = prepare("texts", texts(), fold=None, folds=None).info(None)
    assert (info.num_classes, info.input_shape, info.label_shape) == (PLACES, (9,), (2,))
    assert kind_of("span-qa").logits_shape(3, info) == (3, 2, PLACES)


ends = st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=2, max_size=2)


@given(st.lists(ends, min_size=1, max_size=4))
def test_the_best_span_is_the_best_of_all_that_begin_before_they_end(weights):
    chances = np.array(weights, float)
    for (first, last), found in zip(chances, best_spans(chances), strict=True):
        worth = {(i, j): first[i] * last[j] for i in range(5) for j in range(i, 5)}
        assert worth[tuple(found)] == max(worth.values())


def test_scores_are_those_of_plain_loops():
    chances = RANDOM.dirichlet(np.ones(PLACES), size=(7, 2))
    spans = np.sort(RANDOM.randint(PLACES, size=(7, 2)), axis=1)
    spans[0] = best_spans(chances)[0]
    exact, overlaps, losses = [], [], []
    for item, (i, j), (k, m) in zip(chances, best_spans(chances).tolist(), spans.tolist(), strict=True):
        exact.append((i, j) == (k, m))
        said, right = set(range(i, j + 1)), set(range(k, m + 1))
        overlaps.append(2 * len(said & right) / (len(said) + len(right)))
        losses += [-math.log(item[0][k]), -math.log(item[1][m])]
    scores = score_spans(chances, spans, teacher_ends=chances[::-1])
    assert scores["accuracy"] == pytest.approx(np.mean(exact))
    assert scores["span_f1"] == pytest.approx(np.mean(overlaps))
    assert scores["log_loss"] == pytest.approx(np.mean(losses))
    agreed = [a == b for a, b in zip(best_spans(chances).tolist(), best_spans(chances[::-1]).tolist(), strict=True)]
    assert scores["agreement"] == pytest.approx(np.mean(agreed))
    chances[3, 1, 2] = np.nan
    with pytest.raises(Diverged, match="item 3"):
        score_spans(chances, spans)


def test_the_loss_is_the_mean_over_both_ends_and_what_is_kept_are_spans():
    kind = kind_of("span-qa")
    logits, labels = torch.randn(5, 2, PLACES), torch.tensor([[0, 1], [2, 2], [1, 5], [3, 4], [5, 5]])
    logs = logits.log_softmax(-1)
    expected = -sum(float(logs[n, e, labels[n, e]]) for n in range(5) for e in range(2)) / 10
    assert float(kind.loss(logits, Truth(labels))) == pytest.approx(expected, rel=1e-5)
    loss, hits, count = kind.sums(logits, Truth(labels))
    assert (float(loss) / count, count) == (pytest.approx(expected, rel=1e-5), 5)
    said = kind.answers(logits, Truth(labels))
    assert kind.score(said)["accuracy"] == pytest.approx(int(hits) / 5)
    assert kind.kept(said)["labels"].tolist() == labels.tolist()
    assert kind.kept(said)["predicted"].shape == (5, 2)
