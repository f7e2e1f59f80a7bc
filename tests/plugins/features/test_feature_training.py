"""The feature methods in training, on digits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from small_training import check_same, check_training
from torch import nn

from kdbench.engine.cost import parameters
from kdbench.engine.evaluate import evaluate
from kdbench.engine.signals import LiveTeacher
from kdbench.method import Batch
from kdbench_features import memory
from kdbench_features.attention import AttentionTransfer
from kdbench_features.boundaries import ActivationBoundaries
from kdbench_features.congruence import CorrelationCongruence
from kdbench_features.contrast import ContrastiveRepresentation
from kdbench_features.factors import FactorTransfer
from kdbench_features.flow import FlowOfSolution
from kdbench_features.information import VariationalInformation
from kdbench_features.overhaul import Overhaul
from kdbench_features.paraphraser import Paraphraser
from kdbench_features.probabilistic import ProbabilisticTransfer
from kdbench_features.relations import Relational
from kdbench_features.reuse import ReusedClassifier
from kdbench_features.review import KnowledgeReview
from kdbench_features.selectivity import NeuronSelectivity
from kdbench_features.similarity import SimilarityPreserving
from kdbench_models.cnn import cnn_m, cnn_s
from kdbench_models.mlp import mlp_m, mlp_s

METHODS = [
    (AttentionTransfer, {"weight": 100.0}),  # the default outweighs the labels on maps of 8x8 to 2x2
    (SimilarityPreserving, {}),
    (Relational, {}),
    (ProbabilisticTransfer, {}),
    (VariationalInformation, {}),
    (NeuronSelectivity, {}),
    (CorrelationCongruence, {}),
    (ReusedClassifier, {}),
    (ReusedClassifier, {"projector": "linear"}),
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


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_on_digits(digits_bench, cls, params):
    epochs = 4 if cls in STAGED else 2
    done = check_training(digits_bench, lambda: cls(**params), STUDENTS.get(cls), epochs=epochs)
    assert done.own_terms & done.history[0].keys()
    assert done.history[-1]["val_accuracy"] > done.history[0]["val_accuracy"]


def test_simkds_student_is_scored_with_the_teachers_classifier_in_it(digits_bench):
    data = digits_bench
    trainer = data.distil(ReusedClassifier()).trainer
    student: Any = trainer.student
    assert student.fc.weight.equal(data.teacher.fc.weight)
    assert [layer.weight.shape for layer in student.head[0].projector if isinstance(layer, nn.Conv2d)] == [
        (64, 32, 1, 1), (64, 64, 3, 3), (128, 64, 1, 1)
    ]  # fmt: skip
    added = 32 * 64 + 9 * 64 * 64 + 64 * 128 + 2 * (64 + 64 + 128) + data.teacher.fc.weight.numel() + 10
    assert parameters(student) == parameters(cnn_s(data.info)) - 330 + added, "counted with both"
    quality = evaluate(student, data.validation, trainer.fabric)
    assert quality["accuracy"] == trainer.history[-1]["val_accuracy"]
    answers = student(data.validation.student[:5])
    maps = student.stage3(student.stage2(student.stage1(student.stem(data.validation.student[:5]))))
    torch.testing.assert_close(answers, data.teacher.fc(student.head[0].projector(maps).mean((2, 3))))


def test_simkd_projects_vectors_of_perceptrons_and_where_it_is_asked_to(digits_bench):
    student = digits_bench.distil(ReusedClassifier(), mlp_s).student
    assert student.fc.projector[0].weight.shape == (128, 32)
    assert student.fc.reader.weight.equal(digits_bench.teacher.fc.weight)
    asked = digits_bench.distil(ReusedClassifier(projector="linear")).trainer
    assert asked.student.fc.projector[0].weight.shape == (128, 32)
    assert asked.history[1]["feature"] < asked.history[0]["feature"]


def test_crds_bank_has_seen_every_item_after_an_epoch(digits_bench):
    data, method = digits_bench, ContrastiveRepresentation()
    data.distil(method)
    (embedding,) = method.module
    seen = embedding.labels != -1
    assert embedding.labels[seen].equal(data.train.labels[seen])
    assert int((~seen).sum()) <= 1, "all but a last batch of one item"
    torch.testing.assert_close(embedding.ones.norm(dim=1), torch.ones(len(embedding.ones)))


def test_fts_paraphraser_learns_to_rebuild_the_teachers_maps_before_the_student_trains(digits_bench):
    errors = []

    class Watched(FactorTransfer):
        def _paraphrase(self, trainer, batch):
            features = trainer.teacher_outputs(batch).features["last"]
            with torch.no_grad():
                rebuilt = self.module[0].paraphraser.rebuilt(features)
            errors.append(float((rebuilt - features).square().mean()))
            super()._paraphrase(trainer, batch)

    trainer = digits_bench.distil(Watched(paraphraser_epochs=3)).trainer
    steps = len(errors) // 3
    assert sum(errors[-steps:]) < 0.7 * sum(errors[:steps])
    assert trainer.samples == 2 * len(digits_bench.train.labels), (
        "the paraphraser's batches are not the student's speed"
    )
    assert not any(parameter.requires_grad for parameter in trainer.method.module[0].paraphraser.parameters())


def test_ft_keeps_an_items_factors_where_its_inputs_repeat(digits_bench, monkeypatch):
    runs: list[int] = []
    forward = Paraphraser.forward

    def watched(self, maps):
        runs.append(len(maps))
        return forward(self, maps)

    monkeypatch.setattr(Paraphraser, "forward", watched)
    kept = digits_bench.distil(FactorTransfer(paraphraser_epochs=1), epochs=3)
    once, items = sum(runs), len(digits_bench.train.labels)
    assert items - 1 <= once <= items, "in the first epoch alone"
    assert kept.trainer.teacher.forward_samples == 2 * items - (items - once), "the paraphraser's epoch and one more"
    monkeypatch.setattr(memory, "MOST_BYTES", 0)
    check_same(digits_bench.distil(FactorTransfer(paraphraser_epochs=1), epochs=3), kept)
    assert sum(runs) == once + 3 * once


def test_of_augmented_inputs_ft_keeps_nothing(digits_bench):
    trainer = digits_bench.trainer(FactorTransfer(paraphraser_epochs=1), augment=("crop",))
    trainer.run_epochs()
    assert trainer.teacher.forward_samples == trainer.samples
    trainer.close()


def test_staged_methods_match_features_first_and_then_see_labels(digits_bench):
    done = digits_bench.distil(ActivationBoundaries(first_stage=0.5, kd=0.5), epochs=4)
    terms = [{"ab", "ce", "kd"} & set(row) for row in done.history]
    assert terms == [{"ab"}, {"ab"}, {"ce", "kd"}, {"ce", "kd"}]


def test_the_first_stage_costs_no_patience_and_its_checkpoint_is_not_chosen(digits_bench):
    method = ActivationBoundaries(first_stage=0.75)
    trainer = digits_bench.distil(method, epochs=8, patience=1, select="best").trainer
    assert len(trainer.history) > 6, "a student that has seen no label does not get better"
    assert trainer.selected_epoch >= 6


def test_ofd_measures_the_margins_of_a_teacher_without_batch_norm(digits_bench):
    perceptron = dataclasses.replace(digits_bench, teacher=mlp_m(digits_bench.info), builds=(mlp_s, mlp_m))
    measured, asked = (perceptron.distil(Overhaul(margins=each)) for each in ("auto", "measured"))
    assert all((layer.margins < 0).any() for layer in measured.trainer.method.module)
    check_same(measured, asked)


def test_ofds_margins_can_be_measured_on_the_training_items(digits_bench):
    data = digits_bench
    trainer = data.distil(Overhaul(margins="measured")).trainer
    batch = Batch(*[data.train.teacher] * 2, data.train.labels, torch.arange(len(data.train.labels)), 0.0, 0)
    features = LiveTeacher(data.teacher, trainer.method.needs, "cnn-m", trains=False).outputs(batch).features
    for layer, name in zip(trainer.method.module, trainer.method.teacher_layers, strict=True):
        values = features[name]
        expected = values.clamp_max(0).sum((0, 2, 3)) / (values < 0).sum((0, 2, 3)).clamp_min(1)
        torch.testing.assert_close(layer.margins.flatten(), expected, rtol=1e-4, atol=1e-6)
