"""The final fine-tune after transfer, with every registered method: labels alone, as the recipe says.

Each is met on a pair that it serves; none is left out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from lightning_fabric import Fabric

from kdbench.catalog import Catalog
from kdbench.data import Data
from kdbench.engine import cost
from kdbench.engine import run as engine_run
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.evaluate import evaluate
from kdbench.engine.run import train_and_measure
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import load_plugins
from kdbench.records import Throughput
from kdbench.select import Selection
from kdbench_data.bundled import digits
from kdbench_language.data import python_topics
from kdbench_language.models import transformer

INSTALLED = load_plugins().catalog
METHODS = sorted(entry.name for entry in INSTALLED.entries("method") if not entry.missing)
PAIRS = {  # dataset, teacher, student
    "digits": ("few-digits", "cnn-s", "cnn-s"),
    "properties": ("few-properties", "cnn-s", "cnn-s"),
    "topics": ("few-topics", "lm-of-four", "lm-of-two"),
}
OWN_PAIR = {
    "binary_kd": "properties", "distilbert": "topics", "gkd": "topics", "minilm": "topics", "seq_kd": "topics",
    "tinybert": "topics",
}  # fmt: skip
OWN_SETTINGS = {
    "takd": ('takd.assistants=["mlp-s"]',),  # nothing registered is between a model and itself
    "seq_kd": ("seq_kd.beams=1",),
}
SETTINGS = (
    "recipe.epochs=2", "recipe.finetune_epochs=3", "recipe.finetune_lr=0.003", "recipe.schedule=constant",
    "recipe.select=best", "teacher_recipe.epochs=2",
)  # fmt: skip


def few_digits() -> Data:
    """400 of the digits."""
    data = digits()
    return Data(inputs=next(iter(data.views().values()))[:400], labels=data.labels[:400], classes=data.classes,
                preprocess="image")  # fmt: skip


def few_properties() -> Data:
    """The same, with three properties that do not exclude each other."""
    data = few_digits()
    labels = np.stack([data.labels % 2 == 0, data.labels > 4, np.isin(data.labels, (0, 6, 8, 9))], axis=1)
    return replace(data, labels=labels, classes=("even", "above four", "a loop"), task="multilabel")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    own = load_plugins().catalog
    own.add("dataset", "few-digits", few_digits, "test", {"task": "multiclass"})
    own.add("dataset", "few-properties", few_properties, "test", {"task": "multilabel"})
    own.add("dataset", "few-topics", partial(python_topics, 14_000), "test", {"task": "language-modeling"})
    own.add("teacher", "lm-of-four", partial(transformer, 16, 4, 2), "test", {})
    own.add("student", "lm-of-two", partial(transformer, 16, 2, 2), "test", {})
    return own


@pytest.fixture(scope="module")
def context(catalog, tmp_path_factory) -> RunContext:
    """One bank for all methods: the teacher is trained once."""
    return RunContext(catalog, tmp_path_factory.mktemp("results"), plugins={}, workers=1)


@pytest.fixture
def untimed(monkeypatch):
    """Speeds take half a second to measure, and are not what is tested here."""
    monkeypatch.setattr(cost, "measure_throughput", lambda model, inputs: Throughput())


def planned(catalog: Catalog, method: str, *settings: str):
    dataset, teacher, student = PAIRS[OWN_PAIR.get(method, "digits")]
    selection = Selection(
        dataset=(dataset,), teacher=(teacher,), student=(student,), method=(method,), recipe=("standard",)
    )
    return make_plan(catalog, selection, (*SETTINGS, *settings), Repeats(seeds=(0,))).runs[0]


@pytest.mark.parametrize("method", METHODS)
def test_after_any_method_the_student_is_trained_on_labels_alone(catalog, context, untimed, monkeypatch, method):
    heard, scored = [], []

    class Listener(EpochListener):
        def __call__(self, phase, epoch, epochs, logs):
            heard.append((phase, epoch, epochs))

    def watched(phase, fabric, pair, train, validation, recipe, *rest):
        before = evaluate(pair.student.module, validation, fabric)
        trainer = supervised(phase, fabric, pair, train, validation, recipe, *rest)
        scored.append((before, recipe, trainer, evaluate(trainer.student, validation, fabric)))
        return trainer

    supervised = engine_run.train_supervised
    monkeypatch.setattr(engine_run, "train_supervised", watched)
    run = planned(catalog, method, *OWN_SETTINGS.get(method, ()))
    record, predictions = train_and_measure(run, context, Listener())
    ((before, recipe, trainer, after),) = scored
    transfer, tuned = record.history[:-3], record.history[-3:]
    assert [row["epoch"] for row in tuned] == [len(transfer) + epoch for epoch in range(3)]
    assert [event for event in heard if event[0] == "finetune"] == [("finetune", epoch, 3) for epoch in range(3)]
    assert not any("finetune" in row for row in transfer)
    for row in tuned:
        assert row.keys() == {"epoch", "lr", "loss", "val_loss", "val_accuracy", "finetune"}
        assert row["lr"] == pytest.approx(0.003)
    assert (recipe.epochs, recipe.lr, recipe.finetune_epochs) == (3, 0.003, 0)
    assert tuned[-1]["loss"] < max(tuned[0]["loss"], before["loss"])
    assert trainer.history[-1]["loss"] == tuned[-1]["loss"]
    best = max(range(3), key=lambda e: (tuned[e]["val_accuracy"], -tuned[e]["val_loss"]))
    assert record.selected_epoch == len(transfer) + best
    assert after["accuracy"] == pytest.approx(tuned[best]["val_accuracy"])
    assert record.cost.seconds["finetune"] > 0
    assert 0 <= record.cost.batch_seconds < record.cost.seconds["train"]
    assert trainer.steps == 3 * -(-len(trainer.train_data.labels) // recipe.batch_size)
    assert record.cost.steps >= trainer.steps
    kept = predictions["label_probabilities" if run.task == "language-modeling" else "probabilities"]
    assert len(predictions["labels"]) == len(kept) > 0


def test_without_a_learning_rate_it_is_a_tenth_and_without_epochs_there_is_none(catalog, context, untimed):
    tenth, _ = train_and_measure(planned(catalog, "kd", "recipe.finetune_lr=null"), context, EpochListener())
    assert [row["lr"] for row in tenth.history] == pytest.approx([0.05, 0.05, 0.005, 0.005, 0.005])
    none, _ = train_and_measure(planned(catalog, "kd", "recipe.finetune_epochs=0"), context, EpochListener())
    assert len(none.history) == 2
    assert "finetune" not in none.cost.seconds


def test_the_loss_is_the_cross_entropy_of_the_labels(catalog, context, untimed, monkeypatch):
    """At a learning rate of nearly 0 the mean over an epoch is that of the trained student, in training mode."""
    expected = []

    def watched(phase, fabric, pair, train, validation, recipe, *rest):
        views = kdbench_views(train)
        expected.append(evaluate(pair.student.module, views, Fabric(accelerator="cpu", devices=1))["loss"])
        return supervised(phase, fabric, pair, train, validation, recipe, *rest)

    def kdbench_views(train):
        return type(train)(train.student, train.student, train.labels)

    supervised = engine_run.train_supervised
    monkeypatch.setattr(engine_run, "train_supervised", watched)
    settings = ("recipe.finetune_lr=1e-9", "recipe.finetune_epochs=1", "recipe.batch_size=1000")
    selection = Selection(dataset=("few-digits",), teacher=("mlp-s",), student=("mlp-s",), method=("kd",),
                          recipe=("standard",))  # fmt: skip
    run = make_plan(catalog, selection, (*SETTINGS, *settings), Repeats(seeds=(0,))).runs[0]
    record, _ = train_and_measure(run, context, EpochListener())
    assert record.history[-1]["loss"] == pytest.approx(expected[0], rel=1e-5)
