from __future__ import annotations

import pytest
from compression_pairs import Digits, trained_digits


@pytest.fixture(scope="session")
def data() -> Digits:
    return trained_digits()
