"""Builds any architecture of the zoo by its registered name."""

from __future__ import annotations

import importlib

import pytest
import torch

import kdbench_models
from kdbench import DatasetInfo


@pytest.fixture(scope="session")
def info():
    """info(shape, classes) -> what a factory is told about a dataset."""
    return lambda shape, classes=10: DatasetInfo("toy", "multiclass", classes, shape, train_size=64)


@pytest.fixture(scope="session")
def targets() -> dict[str, str]:
    """What the plugin registers as students: name -> "module:attr"."""
    registered: dict[str, str] = {}
    kdbench_models.kdbench_register_students(lambda name, target, **_: registered.update({name: target}))
    return registered


@pytest.fixture(scope="session")
def build(targets, info):
    """build(name, shape, classes) -> the model, with fixed weights."""

    def build_model(name: str, shape: tuple[int, ...], classes: int = 10, seed: int = 0) -> torch.nn.Module:
        module, attribute = targets[name].split(":")
        torch.manual_seed(seed)
        return getattr(importlib.import_module(module), attribute)(info(shape, classes))

    return build_model


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`name` runs over every architecture, `image_name` over those that take images only."""
    kind = {name: family.inputs for family in kdbench_models.FAMILIES for name in family.params}
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", kind)
    if "image_name" in metafunc.fixturenames:
        metafunc.parametrize("image_name", [name for name, inputs in kind.items() if inputs == "image"])
