"""Metrics that have to run the model: what a run asks for beside those of its answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kdbench.errors import KdbenchError, PluginError
from kdbench.plan import load_measure
from kdbench.plugins import describe

if TYPE_CHECKING:
    from torch import nn

    from kdbench.catalog import Catalog
    from kdbench.engine.train import Views


def measure(names: Iterable[str], catalog: Catalog, model: nn.Module, data: Views) -> dict[str, float]:
    """Each named metric of the model on a split; the model is in evaluation mode meanwhile.

    Raises: PluginError, naming metric and plugin, where one fails.
    """
    training = model.training
    model.eval()
    try:
        return {name: _one(name, catalog, model, data) for name in names}
    finally:
        model.train(training)


def _one(name: str, catalog: Catalog, model: nn.Module, data: Views) -> float:
    try:
        return float(load_measure(catalog, name)(model, data.student, data.labels))
    except KdbenchError:
        raise
    except Exception as error:
        plugin = catalog.find("metric", name).plugin
        raise PluginError(f"metric {name!r} of plugin {plugin!r} failed", describe(error)) from error
