"""The code of docs/plugins.md is run as the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.store import Store

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
PLUGIN, OTHERS, CHECK = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def kdbench(tmp_path_factory):
    """The command line where the page's plugin is installed: its file, and the metadata that names it."""
    directory = tmp_path_factory.mktemp("page")
    site = directory / "site"
    metadata = site / "softened-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "kdbench_softened.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: softened\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[kdbench]\nsoftened = kdbench_softened\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(site)])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kdbench", *arguments],
            capture_output=True, text=True, cwd=directory, env=environment, timeout=600, check=False,
        )  # fmt: skip

    run.directory = directory
    return run


def test_adding_a_method_takes_twenty_lines_at_most():
    assert len(PLUGIN.splitlines()) <= 20
    assert max(map(len, PLUGIN.splitlines())) <= 120


@pytest.mark.slow
def test_the_pages_method_is_trained_beside_the_baseline(kdbench):
    done = kdbench(
        "run", "--dataset", "wine", "--teacher", "mlp-l",
        "--method", "scratch", "--method", "softened", "--method", "kd", "--seeds", "1",
        "--set", "epochs=2", "--set", "teacher_recipe.epochs=2", "--workers", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "softened" in done.stdout
    records = {record.method: record for record in Store.open(kdbench.directory / "kdbench-results").records()}
    assert {record.status for record in records.values()} == {"ok"}
    softened, kd = records["softened"], records["kd"]
    assert softened.params == kd.params
    for mine, theirs in zip(softened.history, kd.history, strict=True):
        assert mine["kd"] == pytest.approx(theirs["kd"], rel=1e-3), "it is the method kd, written anew"


def test_the_pages_method_has_a_page_with_the_range_that_it_declares(kdbench):
    done = kdbench("list", "methods", "softened", "--json")
    assert done.returncode == 0, done.stderr
    (page,) = json.loads(done.stdout)
    assert (page["plugin"], page["family"], page["source"]) == ("softened", "logit", "Hinton et al. (2015)")
    assert page["parameters"]["temperature"]["search"] == {"low": 1, "high": 16, "log": True}
    assert page["parameters"]["alpha"]["search"] == {"low": 0.0, "high": 1.0, "log": False}


def test_what_the_page_registers_besides_is_registered():
    names: dict[str, object] = {}
    exec(compile("import kdbench\n\n" + OTHERS, f"{PAGE.name}, second example", "exec", dont_inherit=True), names)
    registered: list[str] = []
    for hook in [value for name, value in names.items() if name.startswith("kdbench_register_")]:
        hook(lambda name, target, **metadata: registered.append(name))
    assert registered == ["blobs", "tiny", "blobs/mlp-l->tiny/scratch", "blobs/mlp-l->tiny/kd"]


def test_the_pages_check_passes():
    names: dict[str, object] = {}
    for number, example in enumerate((PLUGIN, CHECK), 1):
        exec(compile(example, f"{PAGE.name}, example {number}", "exec", dont_inherit=True), names)
    names["test_the_method_keeps_its_promises"]()
