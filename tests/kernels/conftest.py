from __future__ import annotations

import pytest
from loss_table import LOSSES, Loss

from kdbench import kernels
from kdbench.errors import KdbenchError
from kdbench.kernels.divergence import DIVERGENCE
from kdbench.kernels.dkd import DKD
from kdbench.kernels.hinton import HINTON
from kdbench.kernels.kl import KL
from kdbench.kernels.topk import TOPK

OPERATORS = {operator.name: operator for operator in (KL, HINTON, DIVERGENCE, DKD, TOPK)}


def torch_operator(name, device):
    operator = OPERATORS[name.rstrip("_")]
    return operator.in_place if name.endswith("_") else operator


@pytest.fixture(params=["torch", "operators", "cpu"])
def backend(request, monkeypatch):
    """Every way in which a loss is computed here.

    torch: as without compiled kernels. operators: every loss through the autograd function that serves compiled
    kernels, with the operators' definitions in torch in their place. cpu: the compiled kernels.
    """
    if request.param == "operators":
        monkeypatch.setattr("kdbench.kernels.autograd.native", torch_operator)
        monkeypatch.setattr("kdbench.kernels.direct.load_cpu", lambda: None)
        yield request.param
        return
    with kernels.use_backend(request.param):
        try:
            kernels.backend_name("cpu")
        except KdbenchError as error:
            pytest.skip(str(error))
        yield request.param


@pytest.fixture(params=LOSSES, ids=lambda loss: loss.name)
def loss(request) -> Loss:
    return request.param
