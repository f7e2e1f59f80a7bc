"""The feature methods in training, on digits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_training import check_training

from kdbench.engine.evaluate import evaluate
from kdbench.engine.signals import LiveTeacher
from kdbench.method import Batch
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
from kdbench_models.cnn import cnn_m

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
    assert student.fc.classifier.weight.equal(data.teacher.fc.weight)
    assert student.fc.projector[0].weight.shape == (128, 32)
    quality = evaluate(student, data.validation, trainer.fabric)
    assert quality["accuracy"] == trainer.history[-1]["val_accuracy"]
    answers = student(data.validation.student[:5])
    assert answers.equal(data.teacher.fc(student.fc.projector(student.head(
        student.stage3(student.stage2(student.stage1(student.stem(data.validation.student[:5]))))))))  # fmt: skip


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


def test_staged_methods_match_features_first_and_then_see_labels(digits_bench):
    done = digits_bench.distil(ActivationBoundaries(first_stage=0.5, kd=0.5), epochs=4)
    terms = [{"ab", "ce", "kd"} & set(row) for row in done.history]
    assert terms == [{"ab"}, {"ab"}, {"ce", "kd"}, {"ce", "kd"}]


def test_the_first_stage_costs_no_patience_and_its_checkpoint_is_not_chosen(digits_bench):
    method = ActivationBoundaries(first_stage=0.75)
    trainer = digits_bench.distil(method, epochs=8, patience=1, select="best").trainer
    assert len(trainer.history) > 6, "a student that has seen no label does not get better"
    assert trainer.selected_epoch >= 6


def test_ofds_margins_can_be_measured_on_the_training_items(digits_bench):
    data = digits_bench
    trainer = data.distil(Overhaul(margins="measured")).trainer
    batch = Batch(*[data.train.teacher] * 2, data.train.labels, torch.arange(len(data.train.labels)), 0.0, 0)
    features = LiveTeacher(data.teacher, trainer.method.needs, "cnn-m", trains=False).outputs(batch).features
    for layer, name in zip(trainer.method.module, trainer.method.teacher_layers, strict=True):
        values = features[name]
        expected = values.clamp_max(0).sum((0, 2, 3)) / (values < 0).sum((0, 2, 3)).clamp_min(1)
        torch.testing.assert_close(layer.margins.flatten(), expected, rtol=1e-4, atol=1e-6)
