"""The feature methods in training, on digits."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.evaluate import evaluate
from kdbench.engine.models import inspect_model
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher
from kdbench.engine.train import Trainer, Views
from kdbench.method import Batch, ModelInfo, Pair
from kdbench_classic.baselines import Scratch
from kdbench_data.bundled import digits
from kdbench_features.attention import AttentionTransfer
from kdbench_features.boundaries import ActivationBoundaries
from kdbench_features.congruence import CorrelationCongruence
from kdbench_features.contrast import ContrastiveRepresentation
from kdbench_features.factors import FactorTransfer
from kdbench_features.flow import FlowOfSolution
from kdbench_features.information import VariationalInformation
from kdbench_features.overhaul import Overhaul
from kdbench_features.probabilistic import ProbabilisticTransfer
from kdbench_features.relations import Relational
from kdbench_features.reuse import ReusedClassifier
from kdbench_features.review import KnowledgeReview
from kdbench_features.selectivity import NeuronSelectivity
from kdbench_features.similarity import SimilarityPreserving
from kdbench_models.cnn import cnn_m, cnn_s

METHODS = [
    (AttentionTransfer, {"weight": 100.0}),  # the default outweighs the labels on maps of 8x8 to 2x2
    (SimilarityPreserving, {}),
    (Relational, {}),
    (ProbabilisticTransfer, {}),
    (VariationalInformation, {}),
    (NeuronSelectivity, {}),
    (CorrelationCongruence, {}),
    (ReusedClassifier, {}),
    (ContrastiveRepresentation, {}),
    (ContrastiveRepresentation, {"negatives": 256}),
    (ContrastiveRepresentation, {"pool": "batch"}),
    (FactorTransfer, {"paraphraser_epochs": 2}),
    (Overhaul, {}),
    (Overhaul, {"margins": "measured"}),
    (KnowledgeReview, {"warmup": 0}),  # while it warms up, the term rises with its weight
    (ActivationBoundaries, {"first_stage": 0.5}),
    (FlowOfSolution, {"first_stage": 0.5}),
]
STUDENTS = {FlowOfSolution: cnn_m}  # of the teacher's widths
STAGED = (ActivationBoundaries, FlowOfSolution)
FABRIC = Fabric(accelerator="cpu", devices=1)
RECIPE = kdbench.Recipe(epochs=2, batch_size=64, select="last")


@dataclass(frozen=True)
class Digits:
    info: DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module


def infos(data: Digits, student: nn.Module, method: kdbench.Method) -> list[ModelInfo]:
    return [
        inspect_model(model, Entry("student", name, None, "kdbench"), data.info, data.train.student[:2], features)
        for name, model, features in (
            ("cnn-s", student, method.needs.student_features),
            ("cnn-m", data.teacher, method.needs.teacher_features),
        )
    ]


@pytest.fixture(scope="module")
def data() -> Digits:
    """Digits, and a teacher that was trained on them for two epochs."""
    dataset = prepare("digits", digits(), fold=None, folds=None)
    view = dataset.view(None)
    train, validation = (Views.of(split, view, view, FABRIC.device) for split in (dataset.train, dataset.validation))
    info = dataset.info(None)
    seed_global(0, "teacher")
    teacher = cnn_m(info)
    pair = Pair(info, ModelInfo("cnn-m", teacher), None, 2, len(train.labels) // 64)
    trainer = Trainer(
        fabric=FABRIC, method=Scratch(), pair=pair, teacher=NoTeacher(), train=train, validation=validation,
        recipe=RECIPE, seed=0,
    )  # fmt: skip
    trainer.run_epochs()
    trainer.close()
    teacher.requires_grad_(False)
    return Digits(info, train, validation, teacher.eval())


def trained(data: Digits, method: kdbench.Method, **changes: Any) -> tuple[Trainer, dict[str, Tensor]]:
    """The finished trainer, and the method's parameters as they were built."""
    seed_global(1, "student")
    student = STUDENTS.get(type(method), cnn_s)(data.info)
    recipe = msgspec.structs.replace(RECIPE, epochs=4) if isinstance(method, STAGED) else RECIPE
    recipe = msgspec.structs.replace(recipe, **changes)
    pair = Pair(data.info, *infos(data, student, method), recipe.epochs, len(data.train.labels) // 64 + 1)
    method.check(pair)
    seed_global(1, "training")
    trainer = Trainer(
        fabric=FABRIC, method=method, pair=pair, teacher=LiveTeacher(data.teacher, method.needs, "cnn-m", trains=False),
        train=data.train, validation=data.validation, recipe=recipe, seed=1,
    )  # fmt: skip
    before = {} if method.module is None else {n: p.detach().clone() for n, p in method.module.named_parameters()}
    method.fit(trainer)
    trainer.close()
    return trainer, before


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_on_digits(data, cls, params):
    before = copy.deepcopy(data.teacher.state_dict())
    method = cls(**params)
    trainer, built = trained(data, method)
    first, last = trainer.history[0], trainer.history[-1]
    own = {name for name in first if name not in {"loss", "ce", "epoch", "lr"} and not name.startswith("val_")}
    assert own
    for name in own:
        values = [row[name] for row in trainer.history if name in row]
        assert values[-1] < values[0], f"{name} did not fall"
    assert last["val_loss"] < first["val_loss"]
    assert last["val_accuracy"] > first["val_accuracy"]
    for name, value in data.teacher.state_dict().items():
        assert value.equal(before[name]), f"{name} of the teacher moved"
    for name, value in built.items():
        assert not value.equal(method.module.get_parameter(name)), f"{name} of the method did not move"
    again, _ = trained(data, cls(**params))
    assert again.history == trainer.history
    for name, value in trainer.student.state_dict().items():
        assert value.equal(again.student.state_dict()[name]), f"{name} differs between two trainings of one seed"


def test_simkds_student_is_scored_with_the_teachers_classifier_in_it(data):
    trainer, _ = trained(data, ReusedClassifier())
    student: Any = trainer.student
    assert student.fc.classifier.weight.equal(data.teacher.fc.weight)
    assert student.fc.projector[0].weight.shape == (128, 32)
    quality = evaluate(student, data.validation, FABRIC)
    assert quality["accuracy"] == trainer.history[-1]["val_accuracy"]
    answers = student(data.validation.student[:5])
    assert answers.equal(data.teacher.fc(student.fc.projector(student.head(
        student.stage3(student.stage2(student.stage1(student.stem(data.validation.student[:5]))))))))  # fmt: skip


def test_crds_bank_has_seen_every_item_after_an_epoch(data):
    method = ContrastiveRepresentation()
    trained(data, method)
    (embedding,) = method.module
    seen = embedding.labels != -1
    assert embedding.labels[seen].equal(data.train.labels[seen])
    assert int((~seen).sum()) <= 1, "all but a last batch of one item"
    torch.testing.assert_close(embedding.ones.norm(dim=1), torch.ones(len(embedding.ones)))


def test_fts_paraphraser_learns_to_rebuild_the_teachers_maps_before_the_student_trains(data):
    errors = []

    class Watched(FactorTransfer):
        def _paraphrase(self, trainer, batch):
            features = trainer.teacher_outputs(batch).features["last"]
            with torch.no_grad():
                rebuilt = self.module[0].paraphraser.rebuilt(features)
            errors.append(float((rebuilt - features).square().mean()))
            super()._paraphrase(trainer, batch)

    trainer, _ = trained(data, Watched(paraphraser_epochs=3))
    steps = len(errors) // 3
    assert sum(errors[-steps:]) < 0.7 * sum(errors[:steps])
    assert trainer.samples == 2 * len(data.train.labels), "the paraphraser's batches are not the student's speed"
    assert not any(parameter.requires_grad for parameter in trainer.method.module[0].paraphraser.parameters())


def test_staged_methods_match_features_first_and_then_see_labels(data):
    trainer, _ = trained(data, ActivationBoundaries(first_stage=0.5, kd=0.5))
    terms = [{"ab", "ce", "kd"} & set(row) for row in trainer.history]
    assert terms == [{"ab"}, {"ab"}, {"ce", "kd"}, {"ce", "kd"}]


def test_the_first_stage_costs_no_patience_and_its_checkpoint_is_not_chosen(data):
    method = ActivationBoundaries(first_stage=0.75)
    trainer, _ = trained(data, method, epochs=8, patience=1, select="best")
    assert len(trainer.history) > 6, "a student that has seen no label does not get better"
    assert trainer.selected_epoch >= 6


def test_ofds_margins_can_be_measured_on_the_training_items(data):
    trainer, _ = trained(data, Overhaul(margins="measured"))
    batch = Batch(*[data.train.teacher] * 2, data.train.labels, torch.arange(len(data.train.labels)), 0.0, 0)
    features = LiveTeacher(data.teacher, trainer.method.needs, "cnn-m", trains=False).outputs(batch).features
    for layer, name in zip(trainer.method.module, trainer.method.teacher_layers, strict=True):
        values = features[name]
        expected = values.clamp_max(0).sum((0, 2, 3)) / (values < 0).sum((0, 2, 3)).clamp_min(1)
        torch.testing.assert_close(layer.margins.flatten(), expected, rtol=1e-4, atol=1e-6)
