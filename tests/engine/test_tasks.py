"""Multi-label and retrieval tasks: what is refused, losses against plain loops, scores against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from sklearn import metrics as sk
from torch import nn

import kdbench
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.datasets import prepare
from kdbench.engine.evaluate import evaluate
from kdbench.engine.multilabel_metrics import score_labels
from kdbench.engine.retrieval_metrics import equal_error_rate, score_search, score_verification
from kdbench.engine.run import train_and_measure
from kdbench.engine.views import Views
from kdbench.errors import Diverged
from kdbench.method import Batch, Outputs
from kdbench.metric_info import METRICS
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection

FABRIC = Fabric(accelerator="cpu", devices=1)
RANDOM = np.random.RandomState(0)
INPUTS = RANDOM.randn(60, 4)


def several(**changes: object) -> kdbench.Data:
    labels = (INPUTS[:, :3] > 0).astype(int)
    return kdbench.Data(**{"inputs": INPUTS, "labels": labels, "classes": list("abc"), "task": "multilabel", **changes})


def partners(**changes: object) -> kdbench.Data:
    labels = np.arange(60) // 2
    return kdbench.Data(
        **{
            "inputs": INPUTS, "labels": labels, "classes": (), "task": "retrieval", "groups": labels,
            "targets": RANDOM.randn(30, 5)[labels], **changes,
        }
    )  # fmt: skip


def ready(data: kdbench.Data):
    return prepare("made", data, fold=None, folds=None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (several(labels=np.zeros(60, int)), "not one integer or boolean for each item and label"),
        (several(labels=np.full((60, 3), 0.5)), "not one integer or boolean"),
        (several(labels=np.full((60, 3), 2)), "item 0 has 2 for 'a'"),
        (several(labels=np.zeros((60, 3), int)), "every item has no label"),
        (several(labels=np.ones((60, 3), int)), "every item has every label"),
        (several(classes=list("ab")), "there are 2 labels"),
        (several(targets=INPUTS), "has targets, and is not of retrieval"),
        (partners(labels=np.zeros((60, 2), int)), "not one integer per item"),
        (partners(labels=np.full(60, -1)), "item 0 has label -1"),
        (partners(labels=np.zeros(60, int)), "all items have the same label"),
        (partners(classes=["one", "two"]), "outside its 2 numbers"),
        (partners(targets=np.zeros((60, 5), int)), "not one embedding per item"),
        (partners(targets=np.zeros((59, 5))), "targets has 59 items"),
        (partners(targets=np.full((60, 5), np.nan)), "item 0, column 0 is nan"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(data, message):
    with pytest.raises(kdbench.InvalidData, match=message):
        ready(data)


def test_targets_and_labels_follow_their_items_into_the_splits():
    data = partners()
    dataset = ready(data)
    for part in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(part.targets.numpy(), data.targets[part.index].astype(np.float32))
        np.testing.assert_array_equal(part.labels.numpy(), data.labels[part.index])
    assert dataset.info(None).num_classes == 5
    assert ready(partners(targets=None, embedding=7)).info(None).num_classes == 7
    assert ready(partners(targets=data.targets + 1)).fingerprint != dataset.fingerprint
    assert ready(several()).train.labels.dtype == torch.float32


@st.composite
def label_answers(draw):
    items, labels = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = random.integers(1, 20, (items, labels)) / 20 if draw(st.booleans()) else random.random((items, labels))
    return p, (random.random((items, labels)) < draw(st.sampled_from([0.1, 0.5, 1.0]))).astype(np.float32)


@given(label_answers())
def test_multi_label_scores_equal_scikit_learns(case):
    p, y = case
    got, predicted = score_labels(p, y, teacher_probabilities=1 - p), p > 0.5
    assert got["accuracy"] == pytest.approx(1 - sk.hamming_loss(y, predicted))
    assert got["subset_accuracy"] == pytest.approx((y == predicted).all(1).mean())
    for name, function in {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}.items():
        for average in ("macro", "micro"):
            if y.shape[1] > 1:  # one column is a binary task to scikit-learn
                expected = function(y, predicted, average=average, zero_division=0)
                assert got[f"{name}_{average}"] == pytest.approx(expected)
    known = [column for column in range(y.shape[1]) if 0 < y[:, column].sum() < len(y)]
    if known:
        assert got["roc_auc"] == pytest.approx(sk.roc_auc_score(y[:, known], p[:, known]))
        assert got["average_precision"] == pytest.approx(sk.average_precision_score(y[:, known], p[:, known]))
    else:
        assert got["roc_auc"] is got["average_precision"] is None
    each = [sk.log_loss(y[:, column], p[:, column], labels=[0, 1]) for column in range(y.shape[1])]
    assert got["log_loss"] == pytest.approx(np.mean(each))
    assert got["agreement"] == pytest.approx((predicted == (1 - p > 0.5)).mean())
    assert got.keys() <= METRICS.keys()


def test_multi_label_loss_is_the_binary_cross_entropy_of_every_pair():
    logits = torch.randn(7, 3, dtype=torch.float64)
    labels = torch.randint(2, (7, 3)).float()
    batch = Batch(logits, logits, labels, torch.arange(7), 0.0, 0, "multilabel")
    for smoothing in (0.0, 0.2):
        total = 0.0
        for row, truth in zip(logits.tolist(), labels.tolist(), strict=True):
            for z, y in zip(row, truth, strict=True):
                y = y * (1 - smoothing) + smoothing / 2
                p = 1 / (1 + math.exp(-z))
                total -= y * math.log(p) + (1 - y) * math.log(1 - p)
        assert batch.cross_entropy(logits, label_smoothing=smoothing).item() == pytest.approx(total / 21)


def test_soft_targets_of_independent_labels_are_the_divergence_of_each():
    method = load_plugins().catalog.find("method", "binary_kd").load()(temperature=3.0, alpha=0.7)
    student, teacher = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    labels = torch.randint(2, (5, 4)).float()
    batch = Batch(student, student, labels, torch.arange(5), 0.0, 0, "multilabel")
    total = 0.0
    for one, other in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
        p, q = (1 / (1 + math.exp(-z / 3)) for z in (other, one))
        total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    def terms(student):
        return method.loss(batch, Outputs(student, {}, student), Outputs(teacher.detach(), {}, teacher))

    found = terms(student)
    assert found["kd"].item() == pytest.approx(0.7 * 9 * total / 20)
    assert found["ce"].item() == pytest.approx(0.3 * batch.cross_entropy(student).item())
    assert torch.autograd.gradcheck(lambda s: sum(terms(s).values()), student)


def cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def info_nce(queries, candidates, same):
    """The mean over queries with a positive of the mean −log softmax of their positives, by plain loops."""
    losses = []
    for i, query in enumerate(queries):
        scores = [cosine(query, other) / 0.07 if same(i, j) is not None else None for j, other in enumerate(candidates)]
        total = sum(math.exp(s) for s in scores if s is not None)
        positive = [math.log(math.exp(scores[j]) / total) for j in range(len(candidates)) if same(i, j)]
        if positive:
            losses.append(-sum(positive) / len(positive))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("labels", [[0, 0, 1, 2, 1], [0, 1, 2, 3, 4], [3, 3, 3, 3, 3]])
def test_retrieval_loss_is_info_nce_over_the_batch(labels):
    stream = torch.Generator().manual_seed(1)
    logits, targets = (torch.randn(5, 4, generator=stream, dtype=torch.float64) for _ in range(2))
    logits.requires_grad_()
    batch = Batch(logits, logits, torch.tensor(labels), torch.arange(5), 0.0, 0, "retrieval")
    among = info_nce(logits.tolist(), logits.tolist(), lambda i, j: None if i == j else labels[i] == labels[j])
    assert batch.cross_entropy(logits).item() == pytest.approx(among)
    batch.targets = targets
    there = info_nce(logits.tolist(), targets.tolist(), lambda i, j: labels[i] == labels[j])
    back = info_nce(targets.tolist(), logits.tolist(), lambda i, j: labels[i] == labels[j])
    assert batch.cross_entropy(logits).item() == pytest.approx((there + back) / 2)
    batch.cross_entropy(logits).backward()
    assert logits.grad.isfinite().all()
    batch.targets = None
    assert torch.autograd.gradcheck(batch.cross_entropy, logits)


@pytest.mark.parametrize("items", [5, 3000])
def test_validation_counts_how_often_the_nearest_is_right(items):
    stream = torch.Generator().manual_seed(2)
    labels = torch.arange(items) // 2
    embeddings = torch.randn(items, 6, generator=stream) + torch.randn(items, 6, generator=stream)[labels]
    views = Views(embeddings, embeddings, labels, "retrieval")
    directions = nn.functional.normalize(embeddings, dim=1)
    near = (directions @ directions.T).fill_diagonal_(-2).argmax(1)
    paired = labels[: items - items % 2]  # of an odd number, the last is alone
    expected = (labels[near] == labels)[: len(paired)].float().mean()
    found = evaluate(nn.Identity(), views, FABRIC)
    assert found["accuracy"] == pytest.approx(float(expected))
    assert found["loss"] == pytest.approx(
        float(Batch(embeddings, embeddings, labels, labels, 0, 0, "retrieval").cross_entropy(embeddings)), rel=1e-4
    )


def ranks_by_hand(queries, candidates, right):
    ranks = []
    for i, query in enumerate(queries):
        scores = [cosine(query, other) for other in candidates]
        best = max(score for j, score in enumerate(scores) if right(i, j))
        ranks.append(1 + sum(score >= best - 1e-12 for j, score in enumerate(scores) if not right(i, j)))
    return ranks


@given(st.integers(0, 2**32 - 1), st.integers(1, 25))
def test_search_scores_equal_ranks_by_hand(seed, items):
    random = np.random.default_rng(seed)
    labels = random.integers(0, items // 2 + 1, items) * 7
    queries, targets = random.normal(size=(items, 3)), random.normal(size=(100, 3))[labels]
    kept = [int(np.flatnonzero(labels == one)[0]) for one in np.unique(labels)]
    there = ranks_by_hand(queries, targets[kept], lambda i, j: labels[i] == labels[kept[j]])
    back = ranks_by_hand(targets[kept], queries, lambda i, j: labels[kept[i]] == labels[j])
    found = score_search(queries, targets, labels)
    assert found["precision_at_1"] == pytest.approx(np.mean([rank == 1 for rank in there]))
    assert found["mrr"] == pytest.approx(np.mean([1 / rank for rank in there]))
    assert found["hit_rate_at_10"] == pytest.approx(np.mean([rank <= 10 for rank in there]))
    assert found["precision_at_1_reverse"] == pytest.approx(np.mean([rank == 1 for rank in back]))
    assert found["mrr_reverse"] == pytest.approx(np.mean([1 / rank for rank in back]))


def test_a_constant_embedding_finds_nothing_and_a_perfect_one_everything():
    targets = np.random.default_rng(0).normal(size=(20, 8))
    labels = np.arange(20)
    nothing = score_search(np.zeros((20, 8)), targets, labels, teacher_embeddings=targets)
    assert nothing["precision_at_1"] == nothing["precision_at_1_reverse"] == nothing["hit_rate_at_10"] == 0
    perfect = score_search(3 * targets, targets, labels, teacher_embeddings=targets)
    assert perfect["mrr"] == perfect["mrr_reverse"] == perfect["agreement"] == 1
    with pytest.raises(Diverged, match="item 3"):
        score_search(np.where(labels[:, None] == 3, np.nan, targets), targets, labels)


def test_verification_scores_equal_scikit_learns_over_all_pairs():
    random = np.random.default_rng(3)
    labels = np.arange(30) // 3
    embeddings = random.normal(size=(30, 5)) + random.normal(size=(10, 5))[labels]
    pairs = [(i, j) for i in range(30) for j in range(i + 1, 30)]
    likeness = [cosine(embeddings[i], embeddings[j]) for i, j in pairs]
    same = [labels[i] == labels[j] for i, j in pairs]
    found = score_verification(embeddings, labels)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(same, likeness))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(same, likeness))
    false, true, _ = sk.roc_curve(same, likeness, drop_intermediate=False)
    fine = np.linspace(0, 1, 200_001)
    crossing = fine[np.argmin(np.abs(1 - np.interp(fine, false, true) - fine))]
    assert found["eer"] == pytest.approx(crossing, abs=1e-3)
    alone = score_verification(embeddings[:3], labels[:3])
    assert alone["roc_auc"] is alone["eer"] is None
    assert alone["precision_at_1"] == 1


@pytest.mark.parametrize(("values", "rate"), [([3, 2, 1, 0], 0.0), ([0, 1, 2, 3], 1.0), ([1, 1, 1, 1], 0.5)])
def test_equal_error_rate_of_plain_cases(values, rate):
    positive = np.array([True, True, False, False])
    assert equal_error_rate(np.array(values, float), positive) == pytest.approx(rate)


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> RunContext:
    catalog = load_plugins().catalog
    for name, factory, task in (("several", several, "multilabel"), ("partners", partners, "retrieval"),
                                ("alike", lambda: partners(targets=None, embedding=6), "retrieval")):  # fmt: skip
        catalog.add("dataset", name, factory, "test", {"task": task})
    return RunContext(catalog, tmp_path_factory.mktemp("results"), plugins={}, workers=1)


@pytest.mark.parametrize("method", ["scratch", "logit_mse", "fitnet", "rkd", "binary_kd", "contrastive_crossmodal"])
@pytest.mark.parametrize("dataset", ["several", "partners", "alike"])
def test_a_run_trains_and_is_scored_by_what_its_task_is_about(context, dataset, method):
    selection = Selection(dataset=(dataset,), teacher=("mlp-s",), student=("linear",), method=(method,),
                          recipe=("tabular",))  # fmt: skip

    def planned():
        settings = ("recipe.epochs=3", "teacher_recipe.epochs=3")
        return make_plan(context.catalog, selection, settings, Repeats(seeds=(0,)))

    serves = {"binary_kd": "multilabel", "contrastive_crossmodal": "retrieval"}
    task = context.catalog.find("dataset", dataset).metadata["task"]
    if task != serves.get(method, task):
        with pytest.raises(kdbench.MethodRefused, match=f"task of dataset '{dataset}' is '{task}'"):
            planned()
        return
    (run,) = planned().runs
    record, kept = train_and_measure(run, context, EpochListener())
    about = {"several": "roc_auc", "partners": "mrr", "alike": "eer"}[dataset]
    assert 0 <= record.metrics[about] <= 1
    assert record.teacher_metrics.keys() | {"agreement"} >= record.val_metrics.keys()
    assert record.confusion == []
    assert len(kept["labels"]) == len(kept["probabilities" if dataset == "several" else "embeddings"])
    assert record.history[-1]["loss" if "loss" in record.history[-1] else "ce"] > 0
