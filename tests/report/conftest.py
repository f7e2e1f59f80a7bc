from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from report_runs import a_run

from kdbench import store as store_module
from kdbench.records import Record

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def run() -> Callable[..., Record]:
    return a_run


@pytest.fixture
def runs() -> Callable[..., list[Record]]:
    """`runs("kd", [0.9, 0.8, None])`: one run per seed; None is one that failed."""

    def make(method: str, values: list[float | None], **changes) -> list[Record]:
        return [a_run(method, seed, value, **changes) for seed, value in enumerate(values)]

    return make


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The runs whose records were read."""
    names: list[str] = []
    whole = store_module.decode

    def watched(data, kind, *, name, fix):
        names.append(Path(name).parent.name)
        return whole(data, kind, name=name, fix=fix)

    monkeypatch.setattr(store_module, "decode", watched)
    return names
