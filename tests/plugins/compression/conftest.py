from __future__ import annotations

import pytest
import torch
from small_training import Bench, make_bench

from kdbench_data.bundled import digits
from kdbench_models.cnn import cnn_s


@pytest.fixture(scope="session")
def data() -> Bench:
    """Digits, a teacher that was trained on them for two epochs, and students of its own architecture."""
    return make_bench(digits(), teacher=cnn_s, student=cnn_s)


@pytest.fixture(autouse=True)
def deterministic():
    """As the engine asks of torch on a CPU."""
    torch.use_deterministic_algorithms(True)
