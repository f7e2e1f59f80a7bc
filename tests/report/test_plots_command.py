"""`kdbench report --plots` as a user runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import page_runs
import pytest

from kdbench.commands import report as report_module
from kdbench.commands.report import report_command
from kdbench.errors import UnknownName, UsageError
from kdbench.store import Store


def options(directory: Path, **changes):
    plain = {"directory": directory, "form": "md", "metric": None, "expression": None, "output": None, "show": False}
    return plain | {"timings": ()} | changes


@pytest.fixture
def results(tmp_path) -> Path:
    page_runs.fill(Store.open(tmp_path / "results"), datasets=2)
    return tmp_path / "results"


def test_real_runs_are_drawn_and_listed_on_stderr_beside_the_table(kdbench, tmp_path):
    done = kdbench(
        "run", "--dataset", "wine", "--teacher", "mlp-l", "--student", "mlp-s", "--method", "scratch", "--method", "kd",
        "--set", "recipe.epochs=3", "--seeds", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = kdbench("report", "--plots", "pictures", "--format", "csv")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("dataset,"), "the leaderboard is there too"
    pictures = sorted(path.name.split("_")[-1] for path in (tmp_path / "pictures").glob("*.png"))
    assert {"accuracy-learning.png", "roc.png", "precision-recall.png", "reliability.png"} <= set(pictures)
    assert f"written: {len(pictures)} plots to pictures" in result.stderr
    assert "no plot of average ranks across datasets of the one leaderboard" in result.stderr
    assert "Warning" not in result.stderr


def test_the_selection_and_the_metric_apply(catalog, results, tmp_path):
    said: list[str] = []
    chosen = {"expression": "data1 and not fitnet", "metric": "f1_macro", "plots": tmp_path / "plots"}
    report_command(catalog, **options(results, **chosen), warn=said.append)
    names = {path.name for path in (tmp_path / "plots").glob("*.svg")}
    assert names
    assert all(name.startswith("data1") for name in names)
    (forest,) = (tmp_path / "plots").glob("*_f1-macro-differences.svg")
    text = forest.read_text("utf-8")
    assert "dkd" in text
    assert "fitnet" not in text
    assert "Δ F1 " in text


def test_without_matplotlib_one_error_names_the_command_that_installs_it(catalog, results, tmp_path, monkeypatch):
    def find(name):
        return None if name == "matplotlib" else importlib.util.find_spec(name)

    monkeypatch.setattr(report_module, "find_spec", find)
    with pytest.raises(UsageError, match="--plots needs matplotlib") as caught:
        report_command(catalog, **options(results, plots=tmp_path / "plots"), warn=print)
    assert "pip install 'kdbench[plots]'" in str(caught.value)
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"expression": "nothing"}, UnknownName, "no run's combo matches"),
        ({"metric": "acuracy"}, UnknownName, "no run has a metric 'acuracy'"),
    ],
)
def test_nothing_is_drawn_of_a_selection_that_is_wrong(catalog, results, tmp_path, changes, error, told):
    with pytest.raises(error, match=told):
        report_command(catalog, **options(results, plots=tmp_path / "plots", **changes), warn=print)
    assert not (tmp_path / "plots").exists()


def test_a_file_in_the_way_is_one_error(catalog, results, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="plots cannot be written to"):
        report_command(catalog, **options(results, plots=tmp_path / "taken"), warn=print)
