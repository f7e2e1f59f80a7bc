"""Whether a call runs under a transform that must see plain, differentiable torch operations."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

_interpreter = torch._C._functorch.peek_interpreter_stack


def transformed() -> bool:
    """True within torch.func transforms and forward-mode differentiation."""
    return _interpreter() is not None or forward_ad._current_level >= 0


def traced() -> bool:
    """True there, and within torch.compile and torch.export."""
    return torch.compiler.is_compiling() or transformed()
