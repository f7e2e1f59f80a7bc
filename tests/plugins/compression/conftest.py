from __future__ import annotations

import pytest
import torch
from compression_pairs import Digits, trained_digits


@pytest.fixture(scope="session")
def data() -> Digits:
    return trained_digits()


@pytest.fixture(autouse=True)
def deterministic():
    """As the engine asks of torch on a CPU."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
