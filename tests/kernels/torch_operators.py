"""The operators' definitions in torch, by name, as the compiled ones are looked up."""

from kdbench.kernels.divergence import DIVERGENCE
from kdbench.kernels.dkd import DKD
from kdbench.kernels.hinton import HINTON
from kdbench.kernels.kl import KL
from kdbench.kernels.topk import TOPK

OPERATORS = {operator.name: operator for operator in (KL, HINTON, DIVERGENCE, DKD, TOPK)}


def torch_operator(name, device):
    """In the place of `operators.native`."""
    operator = OPERATORS[name.rstrip("_")]
    return operator.in_place if name.endswith("_") else operator
