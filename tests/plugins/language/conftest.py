"""Text, models and recipes that the tests of the language methods share."""

from __future__ import annotations

from functools import partial

import pytest
from small_training import Bench, make_bench

import kdbench
from kdbench_language.data import python_topics
from kdbench_language.models import transformer

RECIPE = kdbench.Recipe(
    optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=2, batch_size=32, clip_norm=1.0, select="last"
)


@pytest.fixture(scope="session")
def topics() -> Bench:
    """A short text, a language model trained on it for six epochs, students of half its width."""
    return make_bench(
        python_topics(14_000),
        teacher=partial(transformer, 32, 2, 2),
        student=partial(transformer, 16, 1, 2),
        recipe=RECIPE,
        teacher_recipe=kdbench.Recipe(optimizer="adamw", lr=1e-2, epochs=6, batch_size=32),
    )
