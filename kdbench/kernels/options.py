"""The losses' options by name, and the codes that the operators take for them (csrc/problem.h)."""

from __future__ import annotations

from typing import Literal

import torch

Reduction = Literal["batchmean", "mean", "sum", "none"]
TeacherIs = Literal["logits", "log_probs", "probs"]
Divergence = Literal["forward_kl", "reverse_kl", "js", "skew_kl", "skew_reverse_kl", "tvd"]
Tail = Literal["renormalize", "bucket"]

REDUCTIONS: frozenset[str] = frozenset({"batchmean", "mean", "sum", "none"})
TEACHER_IS: dict[str, int] = {"logits": 0, "log_probs": 1, "probs": 2}
DIVERGENCES: dict[str, int] = {
    "forward_kl": 0,
    "reverse_kl": 1,
    "js": 2,
    "skew_kl": 3,
    "skew_reverse_kl": 4,
    "tvd": 5,
}
TAILS: dict[str, int] = {"renormalize": 0, "bucket": 1}

LOGIT_DTYPES = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})


def accumulation(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums and losses over logits of a dtype: float32, or float64 for float64."""
    return torch.float64 if dtype is torch.float64 else torch.float32
