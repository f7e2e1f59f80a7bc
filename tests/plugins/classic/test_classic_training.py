"""The classic methods in training: on digits, and on properties of digits that do not exclude each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import Bench, check_training, make_bench

from kdbench.testing import check_method
from kdbench_classic.baselines import LabelSmoothing, Scratch
from kdbench_classic.hints import FitNet
from kdbench_classic.independent import IndependentLabels
from kdbench_classic.logits import LogitRegression, SoftTargets
from kdbench_data.bundled import digits
from kdbench_models.cnn import cnn_m, cnn_s

PROPERTIES = {"even": (0, 2, 4, 6, 8), "prime": (2, 3, 5, 7), "above four": (5, 6, 7, 8, 9), "a loop": (0, 6, 8, 9)}


@pytest.fixture(scope="module")
def properties_bench() -> Bench:
    """Digits, of which each has some of four properties, and a teacher that has learnt them a little."""
    data = digits()
    labels = np.stack([np.isin(data.labels, having) for having in PROPERTIES.values()], axis=1)
    return make_bench(
        replace(data, labels=labels, classes=tuple(PROPERTIES), task="multilabel"), teacher=cnn_m, student=cnn_s
    )


@pytest.mark.parametrize("cls", [Scratch, LabelSmoothing, SoftTargets, LogitRegression, FitNet])
def test_a_method_trains_on_digits(digits_bench, cls):
    assert any(name.endswith("running_mean") for name in digits_bench.teacher.state_dict())
    done = check_training(digits_bench, cls)
    assert done.history[-1]["val_accuracy"] > done.history[0]["val_accuracy"]


@pytest.mark.parametrize("cls", [LabelSmoothing, LogitRegression, IndependentLabels])
def test_a_method_trains_on_labels_that_do_not_exclude_each_other(properties_bench, cls):
    assert properties_bench.train.labels.shape[1] == len(PROPERTIES)
    done = check_training(properties_bench, cls)
    assert done.history[-1]["val_accuracy"] > 0.65, "the more frequent answers alone have 0.55"


def test_fitnets_student_has_its_teachers_hint_more_than_a_student_of_labels(digits_bench):
    """A regressor of its own, fitted to each frozen student, is nearer to the hint after fitnet than after scratch."""
    left = {}
    for cls in (Scratch, FitNet):
        done = digits_bench.distil(cls(), epochs=3)
        inputs = digits_bench.validation.student
        features = {}
        for name, model in (("student", done.student), ("teacher", done.teacher)):
            with torch.no_grad():
                features[name] = model.eval().stage2(model.stage1(model.stem(inputs))).transpose(0, 1).flatten(1).T
        guided, hint = (features[name].double().numpy() for name in ("student", "teacher"))
        known = np.concatenate([guided, np.ones((len(guided), 1))], axis=1)  # channels that are always 0 add nothing
        rest = hint - known @ np.linalg.lstsq(known, hint, rcond=1e-9)[0]
        left[cls] = np.square(rest).mean() / hint.var(0).mean()
    assert left[FitNet] < 0.9 * left[Scratch]


def test_binary_kd_keeps_the_promises_of_a_method():
    check_method(IndependentLabels)
