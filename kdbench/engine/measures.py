"""Metrics that have to run the model: what a run asks for beside those of its answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from filelock import FileLock

from kdbench.durable import replace_file
from kdbench.engine.differentiable import gradient_problem
from kdbench.errors import KdbenchError, PluginError
from kdbench.plan import load_measure
from kdbench.plugins import describe

if TYPE_CHECKING:
    from torch import nn

    from kdbench.catalog import Catalog
    from kdbench.data import DatasetInfo
    from kdbench.engine.bank import Teacher
    from kdbench.engine.views import Views


def measure(
    names: Iterable[str], catalog: Catalog, model: nn.Module, data: Views, info: DatasetInfo
) -> dict[str, float]:
    """Each named metric of the model on a split; the model is in evaluation mode meanwhile.

    NaN of a metric that differentiates the model at inputs, where the model has no gradient there: what it was trained
    for is known all the same. Raises: PluginError, naming metric and plugin, where one fails.
    """
    training = model.training
    model.eval()
    shared: dict[object, Any] = {}
    try:
        return {name: _one(name, catalog, model, data, info, shared) for name in names}
    finally:
        model.train(training)


def measure_teacher(
    names: Iterable[str], catalog: Catalog, teacher: Teacher, data: Views, info: DatasetInfo
) -> dict[str, float | None]:
    """The metrics that are also the teacher's (registered with of_teacher=True), on its view of a split.

    They are kept in the bank beside the teacher: each is computed once, whichever run asks first.
    """
    wanted = [name for name in names if catalog.find("metric", name).metadata.get("of_teacher")]
    if not wanted:
        return {}
    file = teacher.directory / "measures.json"
    with FileLock(teacher.directory / "measures.lock"):
        kept = msgspec.json.decode(file.read_bytes(), type=dict[str, float | None]) if file.exists() else {}
        missing = [name for name in wanted if name not in kept]
        if missing:
            kept |= measure(missing, catalog, teacher.module, data.seen_by("teacher"), info)
            replace_file(file, msgspec.json.encode(kept), teacher.directory)
    return {name: kept[name] for name in wanted}


def _one(
    name: str, catalog: Catalog, model: nn.Module, data: Views, info: DatasetInfo, shared: dict[object, Any]
) -> float:
    about = catalog.find("metric", name).metadata
    given: dict[str, object] = {"info": info, "index": data.index, "shared": shared}
    more = {key: value for key, value in given.items() if about.get(key)}
    if about.get("differentiates") and gradient_problem(model, data.student[:2]):
        return math.nan
    try:
        return float(load_measure(catalog, name)(model, data.student, data.labels, **more))
    except KdbenchError:
        raise
    except Exception as error:
        plugin = catalog.find("metric", name).plugin
        raise PluginError(f"metric {name!r} of plugin {plugin!r} failed", describe(error)) from error
