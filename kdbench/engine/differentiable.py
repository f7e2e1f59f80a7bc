"""Whether a model can be differentiated at its inputs, for methods and metrics that do so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kdbench.errors import MethodRefused
from kdbench.method import View

if TYPE_CHECKING:
    from kdbench.engine.models import Side
    from kdbench.method import Method


def differentiated(method: Method) -> tuple[View, ...]:
    """The models whose logits have to carry a gradient to their inputs, for the method to train at all.

    A frozen teacher's graph begins at its inputs: gradients at its features ask for the same.
    """
    needs = method.needs
    frozen = needs.feature_grad and not method.trains_teacher
    return tuple(dict.fromkeys((*needs.differentiates, *(("teacher",) if frozen else ()))))


def check_gradient(method_name: str, view: View, model: nn.Module, side: Side) -> None:
    """Run the model of one side once on a few items, with autograd, and look whether its logits hang on them.

    Nothing is differentiated, and the model's state is left as it was. Raises: MethodRefused.
    """
    if problem := gradient_problem(model, side.example):
        raise MethodRefused(
            f"method {method_name!r} cannot serve this pair: {view} {side.entry.name!r} has no gradient at its inputs",
            f"view {side.info.view!r} of dataset {side.info.name!r}: {problem}",
            f"choose a {view} that computes with numbers, on a view that has such (--set {view}_view=...), or a method"
            " that learns from answers (kdbench list methods --family logit)",
        )


def gradient_problem(model: nn.Module, example: Tensor) -> str:
    """Why the logits of a few items (N, ...) have no gradient to them; empty where they have."""
    if not example.is_floating_point():
        return f"its items are whole numbers ({str(example.dtype).removeprefix('torch.')}), such as tokens"
    inputs = example.detach().clone().requires_grad_()
    training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            logits = model(inputs.clone())  # a model that works in place may not be given a leaf
    except (RuntimeError, ValueError, TypeError) as error:
        return f"the model cannot be run with autograd: {type(error).__name__}: {error}"
    finally:
        model.train(training)
    return "" if _hangs_on(logits.grad_fn, inputs) else "the logits do not depend on them by anything differentiable"


def _hangs_on(node: Any, leaf: Tensor) -> bool:
    """Whether the graph that ends in the node begins, among others, at the leaf.

    The graph is walked rather than run backward, which not every layer allows in evaluation mode (cuDNN's recurrent
    ones do not). It ends where torch has put a node that says that an operation, such as one of integers, has no
    derivative.
    """
    seen, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or node.name().endswith("NotImplemented"):
            continue
        if getattr(node, "variable", None) is leaf:
            return True
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return False
