"""What every loss asks of its arguments, and the errors that say what to change.

The accepted path is a handful of comparisons: messages are made only where one fails.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf, isfinite

import torch
from torch import Tensor

from kdbench.errors import InvalidParameter, ModelMismatch
from kdbench.kernels.check_mode import check_logits, check_positive, check_range, checking
from kdbench.kernels.options import LOGIT_DTYPES
from kdbench.kernels.tracing import traced
from kdbench.names import did_you_mean


def logits_pair(
    function: str, student: Tensor, teacher: Tensor, teacher_name: str = "teacher"
) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's logits, which have one shape, dtype and device.

    Under autocast, dtypes that differ are both promoted to the wider one.

    Raises: ModelMismatch for shapes, InvalidParameter for dtypes, devices, and things that are not tensors.
    """
    if isinstance(student, Tensor) and isinstance(teacher, Tensor):
        dtype = student.dtype
        if (
            student.shape == teacher.shape
            and dtype is teacher.dtype
            and dtype in LOGIT_DTYPES
            and student.device == teacher.device
            and student.ndim
        ):
            return student, teacher
    logits(function, "student", student)
    logits(function, teacher_name, teacher)
    if student.shape != teacher.shape:
        raise ModelMismatch(
            f"{function}: student and {teacher_name} differ in shape",
            f"{tuple(student.shape)} and {tuple(teacher.shape)}",
            "give logits (..., V) over the same classes",
        )
    return like_student(function, student, teacher_name, teacher)


def logits(function: str, name: str, value: Tensor) -> None:
    """Raise for anything but a floating-point tensor with at least one dimension."""
    tensor(function, name, value)
    if value.dtype not in LOGIT_DTYPES:
        raise InvalidParameter(
            f"{function}: {name} is {_dtype(value)}",
            "logits are float32, float64, bfloat16 or float16",
            f"convert it: {name}.float()",
        )
    if not value.ndim:
        raise ModelMismatch(
            f"{function}: {name} has no dimensions", "it is a single number", "give logits of shape (..., V)"
        )


def like_student(function: str, student: Tensor, name: str, value: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors, of one device and dtype: the wider of two dtypes under autocast, else InvalidParameter."""
    on_device(function, student, name, value)
    if student.dtype is value.dtype:
        return student, value
    if not torch.is_autocast_enabled(student.device.type):
        raise InvalidParameter(
            f"{function}: student is {_dtype(student)} and {name} is {_dtype(value)}",
            "one dtype is needed outside autocast",
            f"convert one: {name}.to(student.dtype)",
        )
    wider = torch.promote_types(student.dtype, value.dtype)
    return student.to(wider), value.to(wider)


def tensor(function: str, name: str, value: object) -> None:
    """Raise InvalidParameter for anything but a tensor."""
    if not isinstance(value, Tensor):
        raise InvalidParameter(
            f"{function}: {name} is a {type(value).__name__}, not a tensor", "", "give a torch.Tensor"
        )


def on_device(function: str, student: Tensor, name: str, value: Tensor) -> None:
    """Raise InvalidParameter for a tensor on another device than the student's."""
    if value.device != student.device:
        raise InvalidParameter(
            f"{function}: student is on {student.device} and {name} is on {value.device}",
            "",
            f"move one: {name}.to(student.device)",
        )


def shape(function: str, name: str, value: Tensor, wanted: tuple[int, ...], rule: str) -> None:
    """Raise ModelMismatch for a tensor of another shape; `rule` says in words what the wanted shape is."""
    if tuple(value.shape) != tuple(wanted):
        raise ModelMismatch(
            f"{function}: {name} has shape {tuple(value.shape)}", f"{rule} has shape {tuple(wanted)}", "reshape it"
        )


def choice(function: str, name: str, value: str, known: Collection[str]) -> None:
    """Raise InvalidParameter for a name that is not among the known ones."""
    if value not in known:
        raise InvalidParameter(
            f"{function}: unknown {name} {value!r}", did_you_mean(str(value), known), f"known: {', '.join(known)}"
        )


def number(
    function: str, name: str, value: float, low: float = -inf, high: float = inf, *, open_: bool = False
) -> None:
    """Raise InvalidParameter for a number that is not finite or lies outside [low, high], or (low, high) if open_."""
    if not isinstance(value, int | float):
        raise InvalidParameter(f"{function}: {name} is a {type(value).__name__}, not a number")
    if not isfinite(value) or not (low < value < high if open_ else low <= value <= high):
        left, right = ("(", ")") if open_ else ("[", "]")
        bounds = "finite" if low == -inf and high == inf else f"in {left}{low:g}, {high:g}{right}"
        raise InvalidParameter(f"{function}: {name} {value} is not {bounds}")


def temperature(function: str, student: Tensor, value: float | Tensor) -> None:
    """Raise for a temperature that is not positive and finite, or of another shape than the rows.

    The values of a temperature tensor are looked at on the CPU, and in check mode elsewhere.
    """
    if isinstance(value, float | int):
        if not 0 < value < inf:
            raise InvalidParameter(f"{function}: temperature {value} is not a positive, finite number")
        return
    tensor(function, "temperature", value)
    if not value.is_floating_point():
        raise InvalidParameter(f"{function}: temperature is {_dtype(value)}", "", "convert it: temperature.float()")
    if value.ndim:
        shape(function, "temperature", value, student.shape[:-1], "one value per row")
        on_device(function, student, "temperature", value)
    elif value.device.type != "cpu":
        on_device(function, student, "temperature", value)
    if checking() or (value.device.type == "cpu" and not traced()):
        check_positive(function, value)


def labels(function: str, student: Tensor, value: Tensor, ignore_index: int) -> bool:
    """Raise for labels of another shape, dtype, device, or, on the CPU and in check mode, range.

    Returns: whether it is known that no row is ignored.
    """
    tensor(function, "labels", value)
    if value.dtype is not torch.int64:
        raise InvalidParameter(
            f"{function}: labels are {_dtype(value)}", "class numbers are int64", "convert them: labels.long()"
        )
    shape(function, "labels", value, student.shape[:-1], "one label per row")
    on_device(function, student, "labels", value)
    if checking() or (value.device.type == "cpu" and not traced()):
        return check_range(function, "labels", value, student.shape[-1], ignore_index)
    return False


def listed(function: str, indices: Tensor, classes: int, empty: int) -> None:
    """In check mode, raise InvalidParameter for a listed class that does not exist; `empty` marks no class."""
    if checking():
        check_range(function, "teacher_indices", indices, classes, empty)


def class_weight(function: str, student: Tensor, value: Tensor) -> None:
    """Raise for class weights that are not one floating-point value per class on the student's device."""
    tensor(function, "class_weight", value)
    if not value.is_floating_point():
        raise InvalidParameter(f"{function}: class_weight is {_dtype(value)}", "", "convert it: class_weight.float()")
    shape(function, "class_weight", value, student.shape[-1:], "one weight per class")
    on_device(function, student, "class_weight", value)


def row_options(function: str, student: Tensor, mask: Tensor | None, row_weight: Tensor | None) -> None:
    """Raise for a mask or weights that are not one value per row on the student's device."""
    if mask is not None:
        tensor(function, "mask", mask)
        if mask.dtype is not torch.bool:
            raise InvalidParameter(
                f"{function}: mask is {_dtype(mask)}", "True marks the rows that count", "convert it: mask.bool()"
            )
        shape(function, "mask", mask, student.shape[:-1], "one value per row")
        on_device(function, student, "mask", mask)
    if row_weight is not None:
        tensor(function, "row_weight", row_weight)
        if not row_weight.is_floating_point():
            raise InvalidParameter(
                f"{function}: row_weight is {_dtype(row_weight)}", "", "convert it: row_weight.float()"
            )
        shape(function, "row_weight", row_weight, student.shape[:-1], "one weight per row")
        on_device(function, student, "row_weight", row_weight)


def in_place(function: str, student: Tensor) -> None:
    """Raise InvalidParameter where the gradient would overwrite a leaf: a parameter, or an input of the caller."""
    base = student if student._base is None else student._base
    if base.is_leaf and base.requires_grad:
        raise InvalidParameter(
            f"{function}: in_place_grad=True would overwrite a leaf tensor that requires grad",
            "the student's logits are themselves a parameter or an input, or a view of one",
            "pass logits that a model computed, or in_place_grad=False",
        )


def values(function: str, counted: Tensor | None, **tensors: Tensor) -> None:
    """In check mode, raise InvalidParameter for rows that have no softmax; else do nothing."""
    if checking():
        for name, value in tensors.items():
            check_logits(function, name, value, counted)


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
