"""A small parallel text, a translation model trained on it a little, and students of half its width."""

from __future__ import annotations

from functools import partial

import pytest
from packages import small_help
from small_training import Bench, make_bench

import kdbench
from kdbench_translation.help import read_pairs
from kdbench_translation.models import transformer
from kdbench_translation.sentences import Sentences, Sizes, as_arrays, as_data, without_near_duplicates

RECIPE = kdbench.Recipe(optimizer="adamw", lr=3e-3, epochs=2, batch_size=32, clip_norm=1.0, select="last")


@pytest.fixture(scope="session")
def small_text(tmp_path_factory) -> kdbench.Data:
    pairs = read_pairs(*small_help(tmp_path_factory.mktemp("packages")))
    sentences = [Sentences(pair.english, pair.chinese, pair.file) for pair in pairs]
    sizes = Sizes(vocabulary=360, length=24, coverage=1.0)
    return as_data(as_arrays(without_near_duplicates(sentences), sizes), source="tests", licence="none")


@pytest.fixture(scope="session")
def bench(small_text) -> Bench:
    return make_bench(
        small_text,
        teacher=partial(transformer, 32, 1, 2),
        student=partial(transformer, 16, 1, 2),
        recipe=RECIPE,
        teacher_recipe=kdbench.Recipe(optimizer="adamw", lr=1e-2, epochs=12, batch_size=16, clip_norm=1.0),
    )
