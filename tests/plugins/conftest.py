"""Fixtures that tests of several families share."""

from __future__ import annotations

import pytest
from small_training import Bench, make_bench

from kdbench_data.bundled import digits
from kdbench_models.cnn import cnn_m, cnn_s


@pytest.fixture(scope="session")
def digits_bench() -> Bench:
    """Digits, a teacher with batch norm that was trained on them for two epochs, and students of half its width."""
    return make_bench(digits(), teacher=cnn_m, student=cnn_s)
