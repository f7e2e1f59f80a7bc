"""What the plugins of this distribution promise: they register, describe their methods, and import nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kdbench.plugins import load_plugins

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
POINTS: dict[str, str] = PROJECT["entry-points"]["kdbench"]
LOOK = """
import sys
from importlib.metadata import EntryPoint
from kdbench.plugins import load_plugins

for name, value in {points}.items():
    for entry in load_plugins(points=[EntryPoint(name, value, "kdbench")]).catalog.entries("method"):
        if not entry.missing:
            entry.load().parameter_schema()
    heavy = {{"torch", "numpy", "scipy", "timm", "transformers"}} & set(sys.modules)
    assert not heavy, (name, heavy)
"""


@pytest.mark.parametrize("name", POINTS)
def test_a_declared_plugin_registers_and_describes_its_methods(entry_point, name):
    loaded = load_plugins(points=[entry_point(name, POINTS[name])])
    assert loaded.problems == []
    for entry in loaded.catalog.entries("method"):
        if entry.missing:
            continue
        cls = entry.load()
        assert cls().params == cls.defaults()
        assert getattr(cls, "name", entry.name) == entry.name
        assert entry.metadata["family"]
        assert entry.metadata["summary"]
        assert entry.metadata["source"] or entry.name == "scratch"
        authors = [source.split(" ")[0] for source in entry.metadata["source"].removeprefix("after ").split(", ")]
        assert any(author in cls.__doc__ for author in authors), f"{entry.name}: {authors} are not in its docstring"


def test_looking_at_methods_imports_nothing_heavy():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(points=POINTS)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
