"""Text students in real trainings, of texts that two classes' words tell apart."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from small_training import Bench, check_training, make_bench

import kdbench
from kdbench_crossmodal.soft import CrossSoft
from kdbench_language.transformers import DistilBert, MiniLm, TinyBert
from kdbench_text import data, models, sources
from kdbench_text.encoder import encoder
from kdbench_text.tokens import plain

SMALL, LARGE = partial(encoder, 16, 1, 2), partial(encoder, 32, 2, 2)
RECIPE = kdbench.Recipe(epochs=6, batch_size=16, optimizer="adamw", lr=5e-3, select="last")


def texts() -> tuple[list[str], list[int]]:
    """120 texts of two to eight words, four of them the class's own as often as not."""
    draw = np.random.default_rng(0)
    labels = [n % 2 for n in range(120)]
    found = [
        " ".join(f"{'ab'[label]}{draw.integers(6)}" if draw.random() < 0.5 else f"c{draw.integers(30)}"
                 for _ in range(draw.integers(2, 9)))
        for label in labels
    ]  # fmt: skip
    assert len(set(map(plain, found))) == len(found)
    return found, labels


@pytest.fixture(scope="module")
def bench() -> Bench:
    found, labels = texts()
    arrays = data.prepared(found, labels, 8)
    return make_bench(
        data.assembled(arrays, ("a", "b"), sources.TWEETS), teacher=LARGE, student=SMALL, views=("words", "words"),
        recipe=RECIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        DistilBert,
        partial(TinyBert, student_layers=(1,), teacher_layers=(2,)),
        MiniLm,
    ],
)
def test_a_small_encoder_learns_from_a_large_one(bench, make):
    check_training(bench, make)


@pytest.mark.parametrize("student", [models.gru_s, partial(models.textcnn, 8, 8), models.bag_s])
def test_students_of_other_kinds_learn_from_an_encoder(bench, student):
    done = bench.distil(CrossSoft(temperature=1.0), student)
    history = [row["loss"] for row in done.history]
    assert history[-1] < history[0]
