from __future__ import annotations

import pytest
from loss_table import LOSSES, Loss
from torch_operators import torch_operator

from kdbench import kernels
from kdbench.errors import KdbenchError


@pytest.fixture(params=["torch", "operators", "cpu"])
def backend(request, monkeypatch):
    """Every way in which a loss is computed here.

    torch: as without compiled kernels. operators: every loss through the autograd function that serves compiled
    kernels, with the operators' definitions in torch in their place. cpu: the compiled kernels.
    """
    if request.param == "operators":
        monkeypatch.setattr("kdbench.kernels.autograd.native", torch_operator)
        monkeypatch.setattr("kdbench.kernels.direct.module", lambda *_: None)
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
