"""Items of many tokens: what is refused, how they are split, and that only the tokens that are asked for count."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from sklearn import metrics as sklearn_metrics
from torch import nn

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.evaluate import evaluate
from kdbench.engine.metrics import score_tokens, token_predictions
from kdbench.engine.models import inspect_model
from kdbench.engine.teachers import answers as answers_of
from kdbench.engine.views import Views
from kdbench.errors import ModelMismatch
from kdbench.method import Batch

VOCABULARY, LENGTH = 5, 4
FABRIC = Fabric(accelerator="cpu", devices=1)


def text(items: int = 40, **changes: object) -> kdbench.Data:
    tokens = np.random.RandomState(0).randint(VOCABULARY, size=(items, LENGTH + 1))
    tokens[:, 0], tokens[:, 1], tokens[:, 2] = np.arange(items) % 5, np.arange(items) // 5 % 5, np.arange(items) // 25
    labels = np.where(np.arange(LENGTH) < 3, tokens[:, 1:], -100)
    data = kdbench.Data(
        tokens[:, :-1], labels, list("abcde"), task="language-modeling", groups=np.arange(items) // 2,
        preprocess="none",
    )  # fmt: skip
    return replace(data, **changes)


def ready(data: kdbench.Data):
    return prepare("text", data, fold=None, folds=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(40, dtype=int)}, "not one integer per token"),
        ({"labels": np.zeros((40, LENGTH))}, "not one integer per token"),
        ({"labels": np.full((40, LENGTH), VOCABULARY)}, "label is outside the vocabulary of 5"),
        ({"labels": np.full((40, LENGTH), -1)}, "item 0 has -1 at place 0"),
        ({"labels": np.full((40, LENGTH), -100)}, "asks for no token"),
        ({"labels": np.zeros((40, LENGTH + 1), dtype=int)}, "does not hold one token index per label"),
        ({"inputs": np.zeros((40, LENGTH))}, "does not hold one token index per label"),
        ({"inputs": np.full((40, LENGTH), -100)}, "token is outside the vocabulary"),
        ({"inputs": np.zeros((39, LENGTH), dtype=int)}, "has 39 items, labels 40"),
        ({"preprocess": "standardize"}, "would be preprocessed with 'standardize'"),
        ({"task": "multiclass"}, "labels are not one integer per item"),
    ],
)
def test_text_that_cannot_be_trained_on_is_refused(changes, message):
    with pytest.raises(kdbench.InvalidData, match=message):
        ready(text(**changes))


def test_text_is_kept_as_it_is_and_a_group_never_crosses_splits():
    data = text()
    dataset = ready(data)
    parts = (dataset.train, dataset.validation, dataset.test)
    for part in parts:
        np.testing.assert_array_equal(part.inputs["input"].numpy(), data.inputs[part.index])
        np.testing.assert_array_equal(part.labels.numpy(), data.labels[part.index])
    groups = [set((part.index // 2).tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 20
    assert dataset.info(None).num_classes == VOCABULARY
    other = data.labels.copy()
    other[0, 0] = (other[0, 0] + 1) % VOCABULARY
    assert ready(text(labels=other)).fingerprint != dataset.fingerprint


def test_equal_items_with_equal_labels_leave_one_with_other_labels_none():
    data = text()
    twice = kdbench.Data(
        np.concatenate([data.inputs, data.inputs[:2]]),
        np.concatenate([data.labels, data.labels[:1], (data.labels[1:2] + 1) % VOCABULARY]),
        data.classes, task=data.task, preprocess="none",
    )  # fmt: skip
    kept = np.concatenate([part.index for part in (ready(twice).train, ready(twice).validation, ready(twice).test)])
    assert sorted(kept.tolist()) == [0, *range(2, 40)]


class Bigrams(nn.Module):
    """Logits (N, L, V) that depend on each token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, VOCABULARY)

    def forward(self, x):
        return self.table(x.long())


def means_by_hand(model: Bigrams, views: Views) -> tuple[float, float]:
    losses, hits = [], []
    for row, labels in zip(views.student.long().tolist(), views.labels.tolist(), strict=True):
        for token, label in zip(row, labels, strict=True):
            if label == -100:
                continue
            scores = model.table.weight[token].double().tolist()
            losses.append(math.log(sum(map(math.exp, scores))) - scores[label])
            hits.append(scores.index(max(scores)) == label)
    return sum(losses) / len(losses), sum(hits) / len(hits)


@pytest.fixture
def model() -> Bigrams:
    torch.manual_seed(0)
    return Bigrams()


@pytest.fixture
def views() -> Views:
    part = ready(text()).train
    inputs = part.inputs["input"]
    return Views(inputs, inputs, part.labels, "language-modeling")


def test_a_split_is_evaluated_over_the_tokens_that_are_asked_for(model, views):
    loss, accuracy = means_by_hand(model, views)
    found = evaluate(model, views, FABRIC)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["accuracy"] == pytest.approx(accuracy)
    batch = Batch(views.student, views.student, views.labels, torch.arange(len(views.labels)), 0.0, 0)
    assert batch.cross_entropy(model(views.student)).item() == pytest.approx(loss, rel=1e-5)


def test_processes_that_share_a_split_divide_by_all_of_its_tokens(model, views):
    class Share:
        size = 2

        def __init__(self, rank: int, others: list) -> None:
            self.rank, self.others, self.mine = rank, others, None

        def add(self, values):
            self.mine = values
            return sum(self.others, values)

    first = Share(0, [])
    evaluate(model, views, FABRIC, first)
    assert evaluate(model, views, FABRIC, Share(1, [first.mine])) == pytest.approx(
        evaluate(model, views, FABRIC), rel=1e-5
    )


def test_tokens_are_scored_as_scikit_learn_scores_them(model, views):
    answers, labels, *_ = answers_of(model, views, FABRIC)
    assert len(labels) == 3 * len(views.labels)
    found = score_tokens(answers, labels, teacher_probabilities=answers)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, answers.argmax(1)))
    expected = sklearn_metrics.log_loss(labels, answers, labels=range(VOCABULARY))
    assert found["log_loss"] == pytest.approx(expected)
    assert found["perplexity"] == pytest.approx(math.exp(expected))
    assert found["agreement"] == 1
    kept = token_predictions(answers, labels)
    assert kept["label_probabilities"] == pytest.approx(answers[np.arange(len(labels)), labels], rel=1e-6)
    np.testing.assert_array_equal(kept["predicted"], answers.argmax(1))


def test_a_model_that_answers_once_an_item_does_not_fit_text(model, views):
    info = DatasetInfo("text", "language-modeling", VOCABULARY, (LENGTH,), 40)
    inspected = inspect_model(model, Entry("student", "bigrams", None, "tests"), info, views.student[:2], ("table",))
    assert inspected.features["table"] == (LENGTH, VOCABULARY)
    classifier = nn.Sequential(nn.Linear(LENGTH, VOCABULARY))
    with pytest.raises(ModelMismatch, match=r"expected logits \(2, 4, 5\)"):
        inspect_model(classifier, Entry("student", "mlp", None, "tests"), info, views.student[:2], ())


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_mean_over_the_tokens_that_count_and_0_where_none_does(label_smoothing):
    logits = torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(VOCABULARY, (3, LENGTH))
    labels[0], labels[1, 2:] = -100, -100
    batch = Batch(labels, labels, labels, torch.arange(3), 0.0, 0)
    kept = labels != -100
    expected = nn.functional.cross_entropy(logits[kept], labels[kept], label_smoothing=label_smoothing)
    torch.testing.assert_close(batch.cross_entropy(logits, label_smoothing=label_smoothing), expected)
    nothing = replace(batch, labels=torch.full_like(labels, -100)).cross_entropy(logits)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert not logits.grad.any()
