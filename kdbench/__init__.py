"""kdbench: which knowledge-distillation method to use, with error bars.

This file is the whole public API for plugin authors and notebooks. Importing it does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from msgspec import Meta

from kdbench.combo import Combo, grid
from kdbench.data import ITEM_TASKS, TOKEN_TASKS
from kdbench.errors import (
    DataNotAvailable,
    InvalidData,
    InvalidParameter,
    KdbenchError,
    MethodRefused,
    ModelMismatch,
)
from kdbench.fetching.sources import Source
from kdbench.hookspecs import hookimpl
from kdbench.method import Batch, Method, ModelInfo, Needs, Outputs, Pair, needs
from kdbench.published import Published
from kdbench.recipe import Recipe
from kdbench.records import Record
from kdbench.search import Search
from kdbench.version import __version__

if TYPE_CHECKING:
    from kdbench import kernels
    from kdbench.data import Data, DatasetInfo
    from kdbench.engine import projectors
    from kdbench.fetching.cache import source_path
    from kdbench.fetching.on_disk import check_disk_room, remember_on_disk
    from kdbench.fetching.prepared import remember
    from kdbench.preparation import Preparation
    from kdbench.store import load

_LAZY = {
    "Data": "kdbench.data:Data",
    "DatasetInfo": "kdbench.data:DatasetInfo",
    "Preparation": "kdbench.preparation:Preparation",
    "check_disk_room": "kdbench.fetching.on_disk:check_disk_room",
    "kernels": "kdbench.kernels",
    "load": "kdbench.store:load",
    "projectors": "kdbench.engine.projectors",
    "remember": "kdbench.fetching.prepared:remember",
    "remember_on_disk": "kdbench.fetching.on_disk:remember_on_disk",
    "source_path": "kdbench.fetching.cache:source_path",
}

__all__ = [
    "ITEM_TASKS",
    "TOKEN_TASKS",
    "Batch",
    "Combo",
    "Data",
    "DataNotAvailable",
    "DatasetInfo",
    "InvalidData",
    "InvalidParameter",
    "KdbenchError",
    "Meta",
    "Method",
    "MethodRefused",
    "ModelInfo",
    "ModelMismatch",
    "Needs",
    "Outputs",
    "Pair",
    "Preparation",
    "Published",
    "Recipe",
    "Record",
    "Search",
    "Source",
    "__version__",
    "check_disk_room",
    "grid",
    "hookimpl",
    "kernels",
    "load",
    "needs",
    "projectors",
    "remember",
    "remember_on_disk",
    "source_path",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'kdbench' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    value = import_module(module)
    return getattr(value, attribute) if attribute else value
