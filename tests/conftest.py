"""Fixtures that several test modules share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from commands import run_kdbench
from fetched import RealData
from hypothesis import settings

import kdbench
from kdbench.catalog import Catalog
from kdbench.plugins import Plugins, load_plugins

settings.register_profile("kdbench", deadline=None)  # the first call of a kernel loads it, which takes its time
settings.load_profile("kdbench")


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """A run asks torch for determinism, for the whole process: the next test starts without."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """The installed plugins."""
    return load_plugins()


@pytest.fixture(scope="session")
def catalog(plugins: Plugins) -> Catalog:
    """What the installed plugins registered."""
    return plugins.catalog


@pytest.fixture(scope="session", autouse=True)
def empty_data_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What this machine has fetched or prepared changes no test."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("data-cache")
        patch.setenv("KDBENCH_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def real_data(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> RealData:
    """`real_data("mnist-5k")`: the real thing, by `kdbench data fetch`'s own way; skips where it cannot be had."""
    return RealData(catalog, tmp_path_factory.mktemp("real-data"))


@pytest.fixture(name="kdbench")
def kdbench_in_an_empty_directory(tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Run the command line in `tmp_path`; modules of tests/ can be imported."""
    return lambda *arguments, **options: run_kdbench(tmp_path, *arguments, **options)


class Softened(kdbench.Method):
    """A method with two parameters."""

    needs = kdbench.needs(logits=True)
    temperature: float = 4.0
    layer: str = "last"

    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


@pytest.fixture
def small_catalog() -> Catalog:
    """Two datasets, two models, two methods, two recipes and six combos, without factories that work."""
    catalog = Catalog()

    def add(kind: Any, name: str, target: Any, **metadata: Any) -> None:
        catalog.add(kind, name, target, "small", metadata)

    for dataset in ("digits", "wine", "unused"):
        add("dataset", dataset, "nowhere:factory", task="multiclass")
    for name in ("big", "small", "other"):
        add("teacher", name, "nowhere:factory")
        add("student", name, "nowhere:factory")
    add("method", "scratch", type("Scratch", (kdbench.Method,), {"__doc__": "Labels."}))
    add("method", "softened", Softened)
    add("method", "extra", type("Extra", (Softened,), {"__doc__": "Not in a combo."}))
    add("recipe", "standard", kdbench.Recipe(epochs=3))
    add("recipe", "fast", kdbench.Recipe(epochs=1))
    add("executor", "local", "kdbench.executors.local:execute")
    for dataset in ("digits", "wine"):
        for name, combo in kdbench.grid(
            methods=["scratch", "softened"], recipes=["standard"], dataset=dataset, teacher="big", student="small"
        ):
            add("combo", name, combo, suites=["all", dataset])
    return catalog


@pytest.fixture
def entry_point() -> Callable[[str, str], EntryPoint]:
    """Make an entry point of kdbench's group by name and value."""
    return lambda name, value: EntryPoint(name, value, "kdbench")
