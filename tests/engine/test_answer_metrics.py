"""Metrics of plugins that take answers: which runs have them, and what they are given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kdbench.catalog import Catalog
from kdbench.engine.answer_metrics import answer_metrics, models_own
from kdbench.engine.tasks import Answers
from kdbench.errors import InvalidParameter, PluginError, UsageError
from kdbench.plan import load_measure

TEST = Answers(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 0]))
VALIDATION = Answers(np.array([[0.5, 0.5]]), np.array([1]))


def catalog(**metrics) -> Catalog:
    """Metrics by name: (target, metadata)."""
    made = Catalog()
    for name, (target, about) in metrics.items():
        made.add("metric", name, target, "mine", about)
    return made


def a_run(dataset="wdbc", task="binary", measures=()):
    return SimpleNamespace(combo=SimpleNamespace(dataset=dataset), task=task, measures=measures)


def items(values, labels):
    return len(labels)


def share_above(text="0.5"):
    if text == "bad":
        raise InvalidParameter("metric 'above:bad'")
    return lambda values, labels: float((values[:, 1] > float(text)).mean())


EVERYWHERE = catalog(items=(items, {"tasks": ("binary",)}), grades=(items, {"tasks": ("multiclass",)}))


def test_a_run_has_the_metrics_of_its_task():
    assert answer_metrics(a_run(), EVERYWHERE, TEST, VALIDATION) == {"items": 2.0}
    assert answer_metrics(a_run(task="multilabel"), EVERYWHERE, TEST, VALIDATION) == {}


def test_one_of_some_datasets_is_theirs_and_anyone_elses_who_asks():
    made = catalog(items=(items, {"datasets": ("wdbc", "pima")}))
    assert answer_metrics(a_run(), made, TEST, VALIDATION) == {"items": 2.0}
    assert answer_metrics(a_run("digits"), made, TEST, VALIDATION) == {}
    assert answer_metrics(a_run("digits", measures=("items",)), made, TEST, VALIDATION) == {"items": 2.0}


def test_one_with_a_text_is_made_by_its_factory():
    made = catalog(above=(share_above, {"scheme": True}))
    assert answer_metrics(a_run(), made, TEST, VALIDATION) == {}
    asked = answer_metrics(a_run(measures=("above:0.9", "above:0.3")), made, TEST, VALIDATION)
    assert asked == {"above:0.9": 0.0, "above:0.3": 1.0}
    made = catalog(above=(share_above, {"scheme": True, "datasets": ("wdbc",)}))
    assert answer_metrics(a_run(), made, TEST, VALIDATION) == {"above": 0.5}


def test_one_that_chooses_on_validation_is_given_its_answers():
    def seen(values, labels, validation, validation_labels):
        assert values is TEST.values
        assert validation is VALIDATION.values
        return len(labels) - len(validation_labels)

    made = catalog(seen=(seen, {"chosen_on": "validation"}))
    assert answer_metrics(a_run(), made, TEST, VALIDATION) == {"seen": 1.0}


def test_those_of_the_model_are_left_to_it():
    made = catalog(robust=(lambda: None, {"of": "model"}), items=(items, {"datasets": ()}))
    run = a_run(measures=("robust", "items"))
    assert answer_metrics(run, made, TEST, VALIDATION) == {"items": 2.0}
    assert models_own(run.measures, made) == ["robust"]


def test_one_that_raises_is_named_with_its_plugin():
    made = catalog(broken=(lambda values, labels: 1 / 0, {}))
    with pytest.raises(PluginError, match="metric 'broken' of plugin 'mine' failed"):
        answer_metrics(a_run(), made, TEST, VALIDATION)


def test_what_cannot_be_asked_for_is_refused_before_anything_runs():
    about = {"scheme": True, "tasks": ("binary",)}
    made = catalog(items=(items, {}), above=(share_above, about))
    with pytest.raises(UsageError, match="metric 'items' cannot be asked for"):
        load_measure(made, "items")
    with pytest.raises(UsageError, match=r"(?s)'above:0.3' cannot be asked for of task 'multiclass'.*serves binary"):
        load_measure(made, "above:0.3", "multiclass")
    with pytest.raises(InvalidParameter, match="above:bad"):
        load_measure(made, "above:bad", "binary")
