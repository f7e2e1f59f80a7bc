"""Metrics of plugins that take a model's answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kdbench.errors import PluginError
from kdbench.plan import load_metric, of_model
from kdbench.plugins import describe

if TYPE_CHECKING:
    from kdbench.catalog import Catalog, Entry
    from kdbench.engine.tasks import Answers
    from kdbench.plan import Run


def answer_metrics(run: Run, catalog: Catalog, test: Answers, validation: Answers) -> dict[str, float]:
    """What a run is measured by: the metrics of its task and dataset, and those of its `measures`; not of the model.

    Raises: PluginError, naming metric and plugin, where one fails.
    """
    own = [entry.name for entry in catalog.entries("metric") if _always(entry, run)]
    asked = [name for name in run.measures if not of_model(catalog.find("metric", name))]
    return {name: _one(name, catalog, test, validation) for name in dict.fromkeys((*own, *asked))}


def models_own(names: Iterable[str], catalog: Catalog) -> list[str]:
    """Those of the names that have to run the model."""
    return [name for name in names if of_model(catalog.find("metric", name))]


def _always(entry: Entry, run: Run) -> bool:
    about = entry.metadata
    if of_model(entry) or run.task not in about.get("tasks", (run.task,)):
        return False
    return run.combo.dataset in about["datasets"] if "datasets" in about else not about.get("scheme")


def _one(name: str, catalog: Catalog, test: Answers, validation: Answers) -> float:
    entry = catalog.find("metric", name)
    given: list[Any] = [test.values, test.labels]
    if entry.metadata.get("chosen_on") == "validation":
        given += [validation.values, validation.labels]
    try:
        return float(load_metric(entry)(*given))
    except Exception as error:
        raise PluginError(f"metric {name!r} of plugin {entry.plugin!r} failed", describe(error)) from error
