"""Selection -> ordered runs with stable ids."""
from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import msgspec

from kdbench.combo import Combo
from kdbench.recipe import Recipe
from kdbench.records import SCHEMA


class Run(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One combo at one seed and fold, fully resolved: plain data that any worker can execute.

    `name` is the combo's; `params` every hyper-parameter of the method, `overrides` those that differ from the
    defaults; `folds` is None without cross-validation.
    """

    name: str
    combo: Combo
    task: str
    params: dict[str, Any]
    overrides: dict[str, Any] = {}
    recipe: Recipe
    recipe_overrides: dict[str, Any] = {}
    teacher_recipe: Recipe
    seed: int
    fold: int | None = None
    folds: int | None = None
    device: str = "cpu"
    deterministic: bool = True

    @cached_property
    def run_id(self) -> str:
        """Stable hash of everything that defines the result: 16 hex digits."""
        definition = {f: getattr(self, f) for f in self.__struct_fields__ if f not in {"name", "overrides", "recipe_overrides"}}
        encoded = msgspec.json.encode({"schema": SCHEMA, **definition}, order="deterministic")
        return hashlib.sha256(encoded).hexdigest()[:16]
