"""Sequence-to-sequence tasks: what is refused, and a run that is scored by what both models write."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import kdbench
from kdbench.data import BEGIN, END
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.datasets import prepare
from kdbench.engine.run import train_and_measure
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection

ITEMS, SOURCE, TARGET, PIECES = 40, 4, 3, 12


def copies(**changes: object) -> kdbench.Data:
    """Two words of the source in the other order."""
    words = np.stack([3 + np.arange(ITEMS) % 8, 4 + np.arange(ITEMS) // 8], axis=1)
    end, none = np.full((ITEMS, 1), END), np.zeros((ITEMS, 1), int)
    target = np.concatenate([words[:, ::-1], end], axis=1)
    read = np.concatenate([np.full((ITEMS, 1), BEGIN), target[:, :-1]], axis=1)
    inputs = np.concatenate([words, end, none, read], axis=1)
    pieces = ["<pad>", "<s>", "</s>", *(f"▁w{n}" for n in range(PIECES - 3))]
    data = kdbench.Data(inputs, target, pieces, task="seq2seq", preprocess="none")
    return replace(data, **changes)


def changed(array: np.ndarray, item: int, place: int, value: int) -> np.ndarray:
    made = array.copy()
    made[item, place] = value
    return made


DATA = copies()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": changed(DATA.labels, 3, 1, -100)}, "item 3 asks for a token after a place where it asks for none"),
        ({"labels": changed(DATA.labels, 3, 0, -100)}, "a target has a gap"),
        ({"labels": changed(DATA.labels, 3, 1, PIECES)}, "a label is outside the vocabulary of 12"),
        ({"labels": np.zeros(ITEMS, int)}, "not one integer per token"),
        ({"inputs": DATA.inputs[:, :TARGET]}, "does not hold a source and what the decoder reads"),
        ({"inputs": DATA.inputs.astype(float)}, "does not hold a source"),
        ({"inputs": changed(DATA.inputs, 5, SOURCE, END)}, "item 5 has 2 at place 0 of its target, not 1"),
        ({"inputs": changed(DATA.inputs, 5, SOURCE + 2, 9)}, "item 5 has 9 at place 2 of its target"),
        ({"inputs": np.concatenate([DATA.inputs[:, :SOURCE], DATA.labels], axis=1)}, "does not read what comes before"),
        ({"inputs": changed(DATA.inputs, 0, 1, 99)}, "a token is outside the vocabulary"),
        ({"inputs": DATA.inputs[1:]}, "has 39 items, labels 40"),
        ({"preprocess": "standardize"}, "would be preprocessed"),
    ],
)
def test_sequences_that_cannot_be_trained_on_are_refused(changes, message):
    with pytest.raises(kdbench.InvalidData, match=message):
        prepare("copies", copies(**changes), fold=None, folds=None)


def test_a_model_is_told_the_lengths_of_source_and_target():
    info = prepare("copies", DATA, fold=None, folds=None).info(None)
    assert (info.input_shape, info.label_shape, info.num_classes) == ((SOURCE + TARGET,), (TARGET,), PIECES)


def test_a_run_is_scored_by_what_the_student_and_the_teacher_write(tmp_path):
    pytest.importorskip("sacrebleu")
    catalog = load_plugins().catalog
    measures = ("bleu:greedy", "chrf:beam2", "tokens_per_s:greedy")
    catalog.add("dataset", "copies", copies, "test", {"task": "seq2seq", "measures": measures})
    context = RunContext(catalog, tmp_path, plugins={}, workers=1)
    selection = Selection(dataset=("copies",), teacher=("mt-s",), student=("mt-s",), method=("word_kd",),
                          recipe=("translation-quick",))  # fmt: skip
    settings = ("recipe.epochs=2", "teacher_recipe.epochs=2")
    (run,) = make_plan(catalog, selection, settings, Repeats(seeds=(0,))).runs
    assert run.measures == measures
    record, kept = train_and_measure(run, context, EpochListener())
    for metrics in (record.metrics, record.teacher_metrics):
        assert set(measures) <= metrics.keys()
        assert 0 <= metrics["chrf:beam2"] <= 100
        assert metrics["perplexity"] > 1
    assert len(kept["labels"]) == TARGET * 8  # the tokens of a fifth of the items
    assert record.confusion == []
