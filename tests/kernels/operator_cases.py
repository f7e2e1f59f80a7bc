"""The cases that every implementation of the operators of csrc/registration.cpp must pass, as one table.

A case is an operator's name and how to make its arguments; `assert_matches` compares what an implementation returned
with `rowwise_references.reference`. Shared by the CPU operators, the emulated CUDA kernels and a real GPU.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import rowwise_references as references
import torch
from torch import Tensor

DTYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}
# Widths of a vector, a warp and a block, one more and one less; 33,000 is more than a block holds in one go.
CLASSES = (1, 2, 3, 7, 10, 31, 32, 33, 100, 128, 1000, 1023, 1024, 1025, 4097, 33000)
# One width for each way in which a row is held, where the options are crossed with the dtypes.
OPTION_CLASSES = (2, 10, 129, 1000, 4097)
IGNORED = -100

# Relative norms. Losses of 16-bit logits are summed in float32, and so are as good as float32's.
LOSS_ERROR = {"f32": 1e-6, "f64": 1e-12, "bf16": 1e-6, "f16": 1e-6}
GRADIENT_ERROR = {"f32": 1e-6, "f64": 1e-12, "bf16": 4e-3, "f16": 5e-4}
# What a float16 below its normal range may lose.
ABSOLUTE = {"f32": 1e-30, "f64": 1e-280, "bf16": 1e-30, "f16": 3e-8}

Options = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One call of an operator: `arguments` in the schema's order, on the CPU, the same at every call."""

    operator: str
    dtype: str
    classes: int
    rows: int
    option: str = "plain"
    change: Callable[[Case, Options], None] = field(default=lambda case, arguments: None, compare=False)

    @property
    def id(self) -> str:
        """The case's name in a test report."""
        return f"{self.operator}-{self.option}-{self.dtype}-{self.classes}"

    @property
    def acc(self) -> torch.dtype:
        """The dtype of losses, scales and weights."""
        return torch.float64 if self.dtype == "f64" else torch.float32

    @cached_property
    def generator(self) -> torch.Generator:
        """Random numbers of this case alone."""
        return torch.Generator()

    def arguments(self) -> Options:
        """The operator's arguments by name, in the schema's order."""
        self.generator.manual_seed(zlib.crc32(self.id.encode()))
        arguments = _PLAIN[self.operator](self)
        self.change(self, arguments)
        return arguments

    def normal(self, *shape: int, deviation: float = 2.0) -> Tensor:
        """Normal numbers in the case's dtype."""
        return (torch.randn(*shape, generator=self.generator, dtype=torch.float64) * deviation).to(DTYPES[self.dtype])

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Uniform numbers in the dtype of scales and weights."""
        return (torch.rand(*shape, generator=self.generator, dtype=torch.float64) * (high - low) + low).to(self.acc)

    def integers(self, *shape: int) -> Tensor:
        """Classes."""
        return torch.randint(self.classes, shape, generator=self.generator)

    def cells(self, share: float) -> Tensor:
        """A mask (rows, classes) that is true at about the share of the cells, never at class 0."""
        mask = torch.rand(self.rows, self.classes, generator=self.generator) < share
        mask[:, 0] = False
        return mask


def assert_matches(case: Case, rows: Tensor, totals: Tensor, grad: Tensor, arguments: Options | None = None) -> None:
    """Compare with the float64 reference: NaN and inf in the same places, the rest within the case's tolerance."""
    arguments = case.arguments() if arguments is None else arguments
    expected = references.reference(case.operator, arguments)
    assert rows.dtype == totals.dtype == case.acc, (rows.dtype, totals.dtype)
    assert grad.dtype == DTYPES[case.dtype], grad.dtype
    loss_error, gradient_error = LOSS_ERROR[case.dtype], GRADIENT_ERROR[case.dtype]
    # What is 0 is got as a difference: a loss of numbers of the size of 1, a gradient of distributions, whose norm is at
    # most 1, both times the row's factor.
    factor, temperature = _largest_factor(arguments), _smallest_temperature(arguments)
    difference = 0.1 * loss_error * max(1.0, factor)
    for name, got, want, tolerance, absolute in (
        ("rows", rows, expected[0], loss_error, math.sqrt(rows.numel()) * difference),
        ("totals", totals, expected[1].reshape(totals.shape), loss_error, math.sqrt(len(rows)) * difference),
        ("grad", grad, expected[2], gradient_error, math.sqrt(len(rows)) * difference / temperature),
    ):
        absolute += ABSOLUTE[case.dtype] * math.sqrt(want.numel())
        error, allowed = _distance(name, got.detach().cpu().double(), want, tolerance, absolute)
        assert error <= allowed, f"{case.id}: {name} is {error:.3g} off, allowed {allowed:.3g}"


def _largest_factor(arguments: Options) -> float:
    found = 0.0
    for prefix in ("", "ce_"):
        rows = arguments.get(f"{prefix}row_scale")
        scale = abs(arguments.get(f"{prefix}scale", 0.0))
        found = max(found, scale if rows is None else scale * float(rows.abs().max()))
    return found * (max(arguments["alpha"], arguments["beta"]) if {"alpha", "beta"} <= set(arguments) else 1.0)


def _smallest_temperature(arguments: Options) -> float:
    """What the logits are divided by, in the row where that is least."""
    rows = arguments["row_temperature"]
    temperature = arguments["temperature"] if rows is None else float(rows.min())
    if not arguments.get("standardize"):
        return temperature
    deviations = arguments["student"].double().std(-1, correction=0)
    return temperature * float(deviations[deviations > 0].min())


def _distance(name: str, got: Tensor, want: Tensor, tolerance: float, absolute: float) -> tuple[float, float]:
    assert got.shape == want.shape, f"{name}: shape {tuple(got.shape)}, not {tuple(want.shape)}"
    assert torch.equal(got.isnan(), want.isnan()), f"{name}: NaN at other places: {_first(got.isnan() != want.isnan())}"
    infinite = want.isinf()
    assert torch.equal(got.isinf(), infinite), f"{name}: inf at other places: {_first(got.isinf() != infinite)}"
    assert torch.equal(got[infinite], want[infinite]), f"{name}: inf of the other sign"
    finite = want.isfinite()
    got, want = got[finite], want[finite]
    return float((got - want).norm()), tolerance * float(want.norm()) + absolute


def _first(mask: Tensor) -> list[int]:
    return mask.nonzero()[0].tolist()


def _logits(case: Case) -> Options:
    return {"student": case.normal(case.rows, case.classes), "teacher": case.normal(case.rows, case.classes)}


def _scales(temperature: float, scale: float) -> Options:
    return {"temperature": temperature, "row_temperature": None, "scale": scale, "row_scale": None}


def _plain_kl(case: Case) -> Options:
    return {**_logits(case), **_scales(4.0, 16 / case.rows), "teacher_is": references.LOGITS, "standardize": False}


def _plain_hinton(case: Case) -> Options:
    scales = _scales(4.0, 16 / case.rows)
    return {
        **_logits(case),
        "labels": case.integers(case.rows),
        "temperature": scales["temperature"],
        "row_temperature": None,
        "alpha": 0.75,
        "scale": scales["scale"],
        "row_scale": None,
        "ce_scale": 1 / case.rows,
        "ce_row_scale": None,
        "label_smoothing": 0.0,
        "class_weight": None,
        "ignore_index": IGNORED,
        "standardize": False,
    }


def _plain_divergence(case: Case) -> Options:
    return {**_logits(case), "kind": references.JS, "beta": 0.5, **_scales(2.0, 4 / case.rows)}


def _plain_dkd(case: Case) -> Options:
    labels = case.integers(case.rows)
    scales = _scales(4.0, 16 / case.rows)
    return {**_logits(case), "labels": labels, "alpha": 1.0, "beta": 8.0, **scales, "ignore_index": IGNORED}


def _plain_topk(case: Case, listed: int = 20) -> Options:
    k = min(listed, case.classes)
    teacher = case.normal(case.rows, case.classes)
    values, indices = teacher.topk(k, -1)
    return {
        "student": case.normal(case.rows, case.classes),
        "teacher_values": values,
        "teacher_indices": indices,
        **_scales(2.0, 4 / case.rows),
        "values_are": references.LOGITS,
        "tail": references.RENORMALIZE,
    }


_PLAIN: dict[str, Callable[[Case], Options]] = {
    "kl": _plain_kl,
    "hinton": _plain_hinton,
    "divergence": _plain_divergence,
    "dkd": _plain_dkd,
    "topk": _plain_topk,
}


def _row_temperature(case: Case, arguments: Options) -> None:
    arguments["row_temperature"] = case.uniform(case.rows, low=0.7, high=6)


def _row_scale(case: Case, arguments: Options) -> None:
    """Every third row weighs 0 and holds NaN, which must not be seen."""
    for name in ("row_scale", "ce_row_scale"):
        if name in arguments:
            arguments[name] = case.uniform(case.rows, low=0.5, high=2)
            arguments[name][::3] = 0
    arguments["student"][::3] = math.nan


def _masked(case: Case, arguments: Options) -> None:
    """Classes that are -inf in both, as masked vocabularies are; whole vectors of them among those."""
    mask = case.cells(0.3)
    mask[:, case.classes // 2 :] |= case.rows > 1
    mask[:, 0] = False
    if "labels" in arguments:
        arguments["labels"].zero_()
    arguments["student"][mask] = -math.inf
    if "teacher" in arguments:
        arguments["teacher"][mask] = -math.inf
    else:
        inside = mask.gather(1, arguments["teacher_indices"])
        inside[:, 0] = True
        arguments["teacher_indices"][:, 0] = 0
        for row in arguments["teacher_indices"]:
            row[1:][row[1:] == 0] = -1
        arguments["teacher_values"][:, 1:][inside[:, 1:]] = -math.inf


def _masked_student(case: Case, arguments: Options) -> None:
    """-inf in the student alone: an infinite loss with a finite gradient (but in row 0, which has none)."""
    mask = case.cells(0.2)
    mask[0] = False
    if "labels" in arguments:
        arguments["labels"].zero_()
    arguments["student"][mask] = -math.inf


def _masked_teacher(case: Case, arguments: Options) -> None:
    mask = case.cells(0.2)
    if "labels" in arguments:
        arguments["labels"].zero_()
    arguments["teacher"][mask] = -math.inf


def _broken_rows(case: Case, arguments: Options) -> None:
    """NaN, +inf and rows of -inf alone, each in its own row; the others must not notice."""
    teacher = arguments["teacher" if "teacher" in arguments else "teacher_values"]
    last = case.classes - 1
    arguments["student"][0, last] = math.nan
    teacher[1, -1] = math.nan
    arguments["student"][2, case.classes // 2] = math.inf
    arguments["student"][3] = -math.inf
    teacher[4] = -math.inf
    teacher[5, 0] = math.inf


def _extreme(case: Case, arguments: Options) -> None:
    """Teacher and student sure of one class, by far; offsets that the loss does not see; equal rows."""
    teacher = arguments["teacher"]
    for row in range(case.rows):
        match row % 4:
            case 0:
                teacher[row, row % case.classes] += 60
                arguments["student"][row, row % case.classes] += 40
            case 1:
                teacher[row] += 100
                arguments["student"][row] -= 100
            case 2:
                arguments["student"][row] = teacher[row]
            case 3:
                teacher[row, 0] += 30
                arguments["student"][row, case.classes - 1] += 30


def _ignored(case: Case, arguments: Options) -> None:
    arguments["labels"][1::2] = IGNORED
    arguments["student"][1::2] = math.nan


def _bad_labels(case: Case, arguments: Options) -> None:
    arguments["labels"][0] = case.classes
    arguments["labels"][1] = -1


def _given(kind: int) -> Callable[[Case, Options], None]:
    def change(case: Case, arguments: Options) -> None:
        log_probs = torch.log_softmax(arguments["teacher"].double() / 2, -1)
        log_probs[case.cells(0.2)] = -math.inf
        arguments["teacher"] = (log_probs if kind == references.LOG_PROBS else log_probs.exp()).to(DTYPES[case.dtype])
        arguments["teacher_is"] = kind

    return change


def _with(**values: Any) -> Callable[[Case, Options], None]:
    return lambda case, arguments: arguments.update(values)


def _constant(case: Case, arguments: Options) -> None:
    """Rows without a deviation: the teacher's, where it only means a uniform distribution."""
    arguments["standardize"] = True
    arguments["teacher"][::2] = 1.3


def _both(*changes: Callable[[Case, Options], None]) -> Callable[[Case, Options], None]:
    def change(case: Case, arguments: Options) -> None:
        for one in changes:
            one(case, arguments)

    return change


def _class_weight(case: Case, arguments: Options) -> None:
    arguments["class_weight"] = case.uniform(case.classes, low=0.1, high=3)
    arguments["class_weight"][case.classes // 2] = 0


def _listed(values_are: int, tail: int) -> Callable[[Case, Options], None]:
    def change(case: Case, arguments: Options) -> None:
        dtype = DTYPES[case.dtype]
        rest = case.uniform(case.rows, 1, low=0.1, high=0.6).double()
        log_probs = torch.log_softmax(arguments["teacher_values"].double() / 2, -1) + torch.log1p(-rest)
        arguments["teacher_values"] = (log_probs if values_are == references.LOG_PROBS else log_probs.exp()).to(dtype)
        arguments.update(values_are=values_are, tail=tail)

    return change


def _empty_places(case: Case, arguments: Options) -> None:
    """Places that list nothing hold NaN; row 0 lists no class at all."""
    arguments["teacher_indices"][:, 1::2] = -1
    arguments["teacher_indices"][0] = -1
    arguments["teacher_values"][arguments["teacher_indices"] == -1] = math.nan


def _bad_indices(case: Case, arguments: Options) -> None:
    arguments["teacher_indices"][0, 0] = case.classes
    arguments["teacher_indices"][1, -1] = -2


def _every_class(case: Case, arguments: Options) -> None:
    arguments.update(_plain_topk(case, case.classes))


_DENSE = {
    "row_temperature": _row_temperature,
    "row_scale": _row_scale,
    "masked": _masked,
    "broken_rows": _broken_rows,
    "temperature_1": _with(temperature=1.0),
}
_STUDENT_MASK = {"masked_student": _masked_student}
_TEACHER_MASK = {"masked_teacher": _masked_teacher}
_LABELS = {"ignored": _ignored, "bad_labels": _bad_labels}
_STANDARDIZE = {"standardize": _with(standardize=True), "constant_teacher": _constant}
_PROBS, _LOG_PROBS = references.PROBS, references.LOG_PROBS

OPTIONS: dict[str, dict[str, Callable[[Case, Options], None]]] = {
    "kl": {
        **_DENSE,
        **_STUDENT_MASK,
        **_TEACHER_MASK,
        **_STANDARDIZE,
        "extreme": _extreme,
        "log_probs": _given(_LOG_PROBS),
        "probs": _given(_PROBS),
    },
    "hinton": {
        **_DENSE,
        **_STUDENT_MASK,
        **_TEACHER_MASK,
        **_LABELS,
        **_STANDARDIZE,
        "extreme": _extreme,
        "smoothing": _with(label_smoothing=0.1),
        "class_weight": _class_weight,
        "smoothing_weight": _both(_with(label_smoothing=0.2), _class_weight),
        "smoothing_masked": _both(_with(label_smoothing=0.2), _masked),
    },
    "divergence": {
        **_DENSE,
        **_STUDENT_MASK,
        **_TEACHER_MASK,
        "extreme": _extreme,
        "js_03": _with(beta=0.3),
        "forward": _with(kind=references.FORWARD_KL),
        "forward_masked": _both(_with(kind=references.FORWARD_KL), _masked_student),
        "reverse": _with(kind=references.REVERSE_KL),
        "reverse_masked": _both(_with(kind=references.REVERSE_KL), _masked_student),
        "skew": _with(kind=references.SKEW_KL, beta=0.1),
        "skew_masked": _both(_with(kind=references.SKEW_KL, beta=0.1), _masked_student),
        "skew_reverse": _with(kind=references.SKEW_REVERSE_KL, beta=0.1),
        "skew_reverse_masked": _both(_with(kind=references.SKEW_REVERSE_KL, beta=0.1), _masked_student),
        "tvd": _with(kind=references.TVD),
        "tvd_masked": _both(_with(kind=references.TVD), _masked_student, _masked_teacher),
    },
    "dkd": {
        **_DENSE,
        **_STUDENT_MASK,
        **_TEACHER_MASK,
        **_LABELS,
        "extreme": _extreme,
        "weights": _with(alpha=0.3, beta=2.0),
    },
    "topk": {
        **_DENSE,
        **_STUDENT_MASK,
        "empty_places": _empty_places,
        "bad_indices": _bad_indices,
        "every_class": _every_class,
        "log_probs": _listed(_LOG_PROBS, references.RENORMALIZE),
        "probs": _listed(_PROBS, references.RENORMALIZE),
        "log_probs_bucket": _listed(_LOG_PROBS, references.BUCKET),
        "probs_bucket": _listed(_PROBS, references.BUCKET),
        "bucket_empty_places": _both(_listed(_PROBS, references.BUCKET), _empty_places),
    },
}


def _plain_cases() -> Iterator[Case]:
    for operator in _PLAIN:
        for dtype in DTYPES:
            for classes in CLASSES:
                yield Case(operator, dtype, classes, 2 if classes > 5000 else 5 if classes > 33 else 37)


def _option_cases() -> Iterator[Case]:
    for operator, options in OPTIONS.items():
        for option, change in options.items():
            for dtype in DTYPES:
                for classes in OPTION_CLASSES:
                    # Two classes of which the student has but the target: no non-target distribution to compare.
                    if (operator, option, classes) == ("dkd", "masked_student", 2):
                        continue
                    yield Case(operator, dtype, classes, 7, option, change)


CASES: tuple[Case, ...] = (*_plain_cases(), *_option_cases())
