"""Bad input is refused before any kernel runs, by a message that says what was found and what to change."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from kdbench.errors import InvalidParameter, ModelMismatch
from kdbench.kernels import checked, kd_divergence, kd_dkd, kd_hinton, kd_kl, kd_topk

LOGITS = torch.zeros(3, 5)
LABELS = torch.zeros(3, dtype=torch.int64)
VALUES, INDICES = torch.zeros(3, 2), torch.tensor([[0, 1]] * 3)

PAIRS = {
    "kd_kl": lambda student, teacher, **options: kd_kl(student, teacher, **options),
    "kd_divergence": lambda student, teacher, **options: kd_divergence(student, teacher, **options),
    "kd_hinton": lambda student, teacher, **options: kd_hinton(student, teacher, LABELS, **options),
    "kd_dkd": lambda student, teacher, **options: kd_dkd(student, teacher, LABELS, **options),
}


@pytest.fixture(params=PAIRS)
def function(request):
    return request.param


@pytest.mark.parametrize(
    ("student", "teacher", "error", "message"),
    [
        (LOGITS, torch.zeros(3, 6), ModelMismatch, r"student and teacher differ in shape.*\(3, 5\) and \(3, 6\).*same"),
        (LOGITS, LOGITS.double(), InvalidParameter, r"student is float32 and teacher is float64.*teacher\.to"),
        (LOGITS.long(), LOGITS, InvalidParameter, r"student is int64.*student\.float\(\)"),
        (LOGITS, LOGITS.bool(), InvalidParameter, r"teacher is bool.*teacher\.float\(\)"),
        (LOGITS, LOGITS.tolist(), InvalidParameter, "teacher is a list, not a tensor.*torch.Tensor"),
        (torch.tensor(1.0), torch.tensor(1.0), ModelMismatch, r"student has no dimensions.*\(\.\.\., V\)"),
        (LOGITS, LOGITS.to("meta"), InvalidParameter, r"student is on cpu and teacher is on meta.*teacher\.to"),
    ],
    ids=["shape", "dtype", "integer", "bool", "list", "number", "device"],
)
def test_logits_that_do_not_fit(function, student, teacher, error, message):
    with pytest.raises(error, match=f"(?s)^{function}: {message}"):
        PAIRS[function](student, teacher)


@pytest.mark.parametrize(
    ("temperature", "error", "message"),
    [
        (0.0, InvalidParameter, "temperature 0.0 is not a positive, finite number"),
        (-1, InvalidParameter, "temperature -1 is not"),
        (float("nan"), InvalidParameter, "temperature nan is not"),
        (float("inf"), InvalidParameter, "temperature inf is not"),
        ("4", InvalidParameter, "temperature is a str, not a tensor"),
        (torch.ones(4), ModelMismatch, r"temperature has shape \(4,\).*one value per row has shape \(3,\)"),
        (torch.ones(3, dtype=torch.int64), InvalidParameter, r"temperature is int64.*temperature\.float\(\)"),
        (torch.tensor([1.0, -2.0, 1.0]), InvalidParameter, "temperature -2.0 is not.*at index 1.*clamp"),
        (torch.tensor(float("nan")), InvalidParameter, "temperature nan is not"),
    ],
    ids=["zero", "negative", "nan", "inf", "string", "shape", "integers", "row", "nan-tensor"],
)
def test_temperatures_that_cannot_be(function, temperature, error, message):
    with pytest.raises(error, match=f"(?s)^{function}: {message}"):
        PAIRS[function](LOGITS, LOGITS, temperature=temperature)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kd_kl(LOGITS, LOGITS, reduction="batch_mean"),
            InvalidParameter,
            "kd_kl: unknown reduction.*mean",
        ),
        (lambda: kd_kl(LOGITS, LOGITS, teacher_is="logit"), InvalidParameter, "kd_kl: unknown teacher_is.*'logits'"),
        (
            lambda: kd_kl(LOGITS, LOGITS, teacher_is="probs", standardize=True),
            InvalidParameter,
            "kd_kl: standardize needs the teacher's logits",
        ),
        (lambda: kd_kl(LOGITS, LOGITS, mask=torch.ones(3)), InvalidParameter, r"kd_kl: mask is float32.*mask\.bool"),
        (
            lambda: kd_kl(LOGITS, LOGITS, mask=torch.ones(2, dtype=torch.bool)),
            ModelMismatch,
            r"kd_kl: mask has shape \(2,\).*\(3,\)",
        ),
        (lambda: kd_kl(LOGITS, LOGITS, row_weight=torch.ones(2)), ModelMismatch, r"kd_kl: row_weight has shape \(2,\)"),
        (lambda: kd_kl(LOGITS, LOGITS, row_weight=LABELS), InvalidParameter, "kd_kl: row_weight is int64"),
        (lambda: kd_divergence(LOGITS, LOGITS, kind="jsd"), InvalidParameter, "kd_divergence: unknown kind 'jsd'"),
        (
            lambda: kd_divergence(LOGITS, LOGITS, kind="js", beta=1.0),
            InvalidParameter,
            r"kd_divergence: beta 1.0 is not in \(0, 1\)",
        ),
        (
            lambda: kd_divergence(LOGITS, LOGITS, kind="tvd", beta=0.5),
            InvalidParameter,
            "kd_divergence: 'tvd' takes no beta.*0.5.*js",
        ),
        (
            lambda: kd_hinton(LOGITS, LOGITS, LABELS, alpha=1.5),
            InvalidParameter,
            r"kd_hinton: alpha 1.5 is not in",
        ),
        (
            lambda: kd_hinton(LOGITS, LOGITS, LABELS, label_smoothing=-0.1),
            InvalidParameter,
            "kd_hinton: label_smoothing -0.1 is not",
        ),
        (
            lambda: kd_hinton(LOGITS, LOGITS, LABELS, class_weight=torch.ones(4)),
            ModelMismatch,
            r"kd_hinton: class_weight has shape \(4,\).*one weight per class has shape \(5,\)",
        ),
        (
            lambda: kd_hinton(LOGITS, LOGITS, LABELS.int()),
            InvalidParameter,
            r"kd_hinton: labels are int32.*long",
        ),
        (
            lambda: kd_hinton(LOGITS, LOGITS, LABELS[:2]),
            ModelMismatch,
            r"kd_hinton: labels has shape \(2,\).*one label per row",
        ),
        (
            lambda: kd_hinton(LOGITS, LOGITS, torch.tensor([0, 7, 0])),
            InvalidParameter,
            "kd_hinton: labels holds class 7; the logits have classes 0 to 4.*at index 1.*-100",
        ),
        (lambda: kd_dkd(LOGITS, LOGITS, LABELS - 1), InvalidParameter, "kd_dkd: labels holds class -1"),
        (lambda: kd_dkd(LOGITS, LOGITS, LABELS, beta=float("nan")), InvalidParameter, "kd_dkd: beta nan is not finite"),
        (lambda: kd_topk(LOGITS, VALUES, INDICES.int()), InvalidParameter, "kd_topk: teacher_indices are int32"),
        (lambda: kd_topk(LOGITS, VALUES[:2], INDICES), ModelMismatch, r"kd_topk: teacher_values has shape \(2, 2\)"),
        (
            lambda: kd_topk(LOGITS, VALUES, INDICES[:, :1]),
            ModelMismatch,
            r"kd_topk: teacher_indices has shape \(3, 1",
        ),
        (lambda: kd_topk(LOGITS, VALUES.half(), INDICES), InvalidParameter, "kd_topk: .*teacher_values is float16"),
        (
            lambda: kd_topk(LOGITS, VALUES, INDICES, tail="bucket"),
            InvalidParameter,
            "kd_topk: tail='bucket' needs",
        ),
        (lambda: kd_topk(LOGITS, VALUES, INDICES, tail="buckets"), InvalidParameter, "kd_topk: unknown tail.*'bucket'"),
    ],
)
def test_options_that_cannot_be(call, error, message):
    with pytest.raises(error, match=f"(?s)^{message}"):
        call()


def test_check_mode_names_the_row_without_a_softmax(function):
    for value, found in ((torch.nan, "holds nan"), (torch.inf, "holds inf"), (-torch.inf, "is -inf in every class")):
        student = LOGITS.clone()
        student[2] = value
        assert PAIRS[function](student, LOGITS) is not None
        with checked(), pytest.raises(InvalidParameter, match=rf"(?s)^{function}: student {found}.*row 2"):
            PAIRS[function](student, LOGITS)
        with checked(), pytest.raises(InvalidParameter, match=rf"(?s)^{function}: teacher {found}.*row 2"):
            PAIRS[function](LOGITS, student)


def test_check_mode_does_not_look_at_rows_that_do_not_count():
    student = LOGITS.clone()
    student[2] = torch.nan
    with checked():
        kd_kl(student, LOGITS, mask=torch.tensor([True, True, False]))
        kd_hinton(student, LOGITS, torch.tensor([0, 0, -100]))
        with checked(False):
            kd_kl(student, LOGITS)


def test_check_mode_is_switched_on_by_the_environment():
    code = """
import torch
from kdbench.kernels import kd_kl
kd_kl(torch.full((1, 2), torch.nan), torch.zeros(1, 2))
"""
    quiet, loud = (
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "KDBENCH_KERNELS_CHECK": value},
            capture_output=True,
            text=True,
            check=False,
        )
        for value in ("0", "1")
    )
    assert quiet.returncode == 0, quiet.stderr
    assert "InvalidParameter" in loud.stderr
    assert "student holds nan" in loud.stderr


def test_arguments_have_the_order_of_the_operators_schemas():
    import re
    from pathlib import Path

    from torch_operators import OPERATORS

    source = (Path(__file__).parents[2] / "csrc" / "registration.cpp").read_text()
    text = "".join(re.findall(r'"([^"]*)"', source))
    schemas = dict(re.findall(r"(\w+)\(([^)]*)\) -> ", text.replace("Tensor(a!)", "Tensor")))
    for name, operator in OPERATORS.items():
        parameters = [parameter.split()[-1] for parameter in schemas[name].split(", ")]
        assert parameters == ["student", *operator.arguments._fields], name
