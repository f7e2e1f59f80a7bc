"""The token-level and sequence-level methods on a translation task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_training import check_training
from torch import nn

import kdbench
from kdbench.data import END
from kdbench.method import ModelInfo
from kdbench_classic.baselines import LabelSmoothing, Scratch
from kdbench_language.generation import translate
from kdbench_language.sequences import GeneralizedKd, SequenceLevel
from kdbench_language.tokens import ReverseKl, SkewKl, WordLevel

LENGTH = 24


class WritingStudent(GeneralizedKd):
    """gkd that always learns from what the student writes."""

    on_policy: float = 1.0
    start: float = 0.0


@pytest.mark.parametrize(
    "make",
    [Scratch, LabelSmoothing, WordLevel, SkewKl, ReverseKl, WritingStudent, SequenceLevel],
    ids=lambda make: make.__name__,
)
def test_methods_train_translation_models(bench, make):
    check_training(bench, make, answers=make is not WritingStudent)


def test_the_student_learns_what_the_teacher_writes_and_the_data_stay_as_they_were(bench):
    method = SequenceLevel(beams=2)
    trainer = bench.trainer(method)
    before = trainer.train_data
    written = method.written(method.tokens(trainer.teacher, before), before)
    targets = translate(bench.teacher, before.student[:, :-LENGTH], LENGTH, 2)
    assert written.student[:, :-LENGTH].equal(before.student[:, :-LENGTH])
    assert written.labels.equal(targets.masked_fill(targets == 0, -100))
    assert (
        written.student[:, 1 - LENGTH :]
        .long()
        .masked_fill(written.labels[:, 1:] < 0, 0)
        .equal(targets[:, :-1].masked_fill(written.labels[:, 1:] < 0, 0))
    )
    method.fit(trainer)
    assert trainer.train_data is before
    trainer.close()


def test_gkd_takes_its_divergence_over_what_the_student_wrote(bench):
    method = GeneralizedKd(start=0, on_policy=1.0)
    trainer = bench.trainer(method)
    batch = next(iter(trainer.batches(0)))
    torch.manual_seed(0)
    written = method.written(trainer.student, batch)
    assert written.inputs[:, :-LENGTH].equal(batch.inputs[:, :-LENGTH])
    assert not written.labels.equal(batch.labels)
    for row in written.labels.tolist():
        asked = [token for token in row if token >= 0]
        assert row == asked + [-100] * (len(row) - len(asked))
        assert END not in asked[:-1]
    trainer.close()


@pytest.mark.parametrize("method", [GeneralizedKd(), SequenceLevel()], ids=lambda method: type(method).__name__)
def test_models_that_cannot_write_are_refused(bench, method):
    other = ModelInfo("mute", nn.Linear(2, 2))
    pair = replace(bench.pair(method), student=other, teacher=other)
    with pytest.raises(kdbench.MethodRefused, match="'mute' cannot write"):
        method.check(pair)
