"""`kdbench tune` as a user runs it, on real data."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdbench.cli import main
from kdbench.store import Store

SHORT = ("--set", "epochs=2", "--set", "teacher_recipe.epochs=2", "--workers", "1")
SEARCH = (
    "tune",
    "--dataset",
    "wine",
    "--teacher",
    "mlp-l",
    "--method",
    "scratch",
    "--method",
    "kd",
    "--trials",
    "4",
    "--seeds",
    "2",
    *SHORT,
)


def invoke(directory: Path, *arguments: object):
    """Run the command line in this process; its workers are processes of their own."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        return CliRunner().invoke(main, [*map(str, arguments)])
    finally:
        os.chdir(before)


def as_process(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "kdbench", *arguments], cwd=directory, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A directory with a finished search, and what the command said."""
    directory = tmp_path_factory.mktemp("tuned")
    done = invoke(directory, *SEARCH, "--format", "json")
    assert done.exit_code == 0, done.output
    return directory, done


def boards(text: str) -> list[dict]:
    return json.loads(text)["tuned"]


@pytest.mark.slow
def test_defaults_and_best_stand_side_by_side_and_nothing_is_run_again(tuned):
    directory, done = tuned
    (board,) = boards(done.stdout)
    rows = {row["method"]: row for row in board["rows"]}
    assert set(rows) == {"scratch", "kd"}
    assert [trial["number"] for trial in rows["kd"]["trials"]] == [0, 1, 2, 3]
    assert rows["scratch"]["budget"] == 1
    assert all(isinstance(rows["kd"][column], float) for column in ("default", "tuned", "gain", "best_validation"))
    assert "scratch: nothing to search" in done.stderr
    assert "validation accuracy" in done.stderr
    again = invoke(directory, *SEARCH, "--format", "json")
    assert again.exit_code == 0
    assert again.stdout == done.stdout
    assert "trained in" not in again.stderr, "everything was in the store"


@pytest.mark.slow
def test_trials_are_apart_from_final_runs_and_know_no_test_split(tuned):
    directory, done = tuned
    results = directory / "kdbench-results"
    trials = Store.open(results / "trials", create=False)
    assert len(trials.records()) == 5
    for record in trials.records():
        assert record.trial
        assert (record.seed, record.metrics, record.teacher_metrics, record.confusion) == (1000, {}, {}, [])
        assert record.val_metrics["accuracy"] > 0
        assert trials.predictions(record.run_id) == {}
    finals = Store.open(results, create=False).records()
    assert {record.seed for record in finals} == {0, 1}
    assert all(not record.trial and record.metrics for record in finals)
    assert not (results / "trials" / "teachers").exists(), "both use one teacher"
    report = json.loads(invoke(directory, "report", "--format", "json").stdout)
    rows = {row["label"]: row for row in report["leaderboards"][0]["rows"]}
    kd = next(row for row in boards(done.stdout)[0]["rows"] if row["method"] == "kd")
    assert rows["kd"]["mean"] == pytest.approx(kd["default"])
    if kd["params"]:
        (overridden,) = [row for label, row in rows.items() if label.startswith("kd(")]
        assert overridden["mean"] == pytest.approx(kd["tuned"])
    assert json.loads(invoke(directory, "report", results / "trials", "--format", "json").stdout)["leaderboards"] == []


@pytest.mark.slow
def test_the_reports_are_written(tuned):
    directory, done = tuned
    written = directory / "kdbench-results" / "tuning"
    assert json.loads((written / "tuning.json").read_text())["tuned"] == boards(done.stdout)
    assert len((written / "trials.csv").read_text().splitlines()) == 1 + 4 + 1
    assert len((written / "tuned.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_same_trials(tuned, tmp_path):
    process = as_process(tmp_path, *SEARCH)
    assert process.stderr is not None
    while "[3/" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    kept = set(Store.open(tmp_path / "kdbench-results" / "trials", create=False).statuses())
    assert len(kept) >= 3
    done = invoke(tmp_path, *SEARCH, "--format", "json")
    assert done.exit_code == 0
    trials = [[row["trials"] for row in board["rows"]] for board in boards(done.stdout)]
    assert trials == [[row["trials"] for row in board["rows"]] for board in boards(tuned[1].stdout)]
    assert kept <= set(Store.open(tmp_path / "kdbench-results" / "trials", create=False).statuses())


@pytest.mark.slow
def test_the_command_of_a_tuned_record_repeats_it(tuned, tmp_path):
    directory, _ = tuned
    records = Store.open(directory / "kdbench-results", create=False).records()
    record = next(record for record in records if record.method == "kd" and record.overrides)
    arguments = shlex.split(record.provenance.command)[1:]
    again = invoke(tmp_path, *arguments, "--workers", 1)
    assert again.exit_code == 0, again.output
    (repeated,) = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert (repeated.run_id, repeated.metrics) == (record.run_id, record.metrics)


@pytest.mark.slow
def test_methods_that_fail_cost_their_trials_and_the_others_are_tuned(tmp_path):
    done = invoke(tmp_path, "tune", "--dataset", "wine", "--teacher", "mlp-l",
                  "--method", "misbehaving:ReturnsNaN", "--method", "kd",
                  "--tune-lr", "--trials", 3, "--seeds", 1, *SHORT, "--format", "json")  # fmt: skip
    assert done.exit_code == 1
    rows = {row["method"]: row for row in boards(done.stdout)[0]["rows"]}
    broken, kd = rows["misbehaving:ReturnsNaN"], rows["kd"]
    assert (broken["budget"], broken["unfinished"], broken["best_trial"], broken["tuned"]) == (3, 3, None, None)
    assert "became nan" in broken["error"]
    assert (kd["budget"], kd["unfinished"]) == (3, 0)
    assert kd["tuned"] > 0
    assert [set(trial["recipe"]) for trial in kd["trials"]] == [set(), {"lr"}, {"lr"}]


def test_a_dry_run_prints_what_is_searched_and_writes_nothing(tmp_path):
    done = invoke(tmp_path, "tune", "--dataset", "wine", "--teacher", "mlp-l",
                  "--method", "scratch", "--method", "kd", "--trials", 7,
                  "--set", "kd.alpha=0.5", *SHORT, "--dry-run")  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    kd = lines.index("wine/mlp-l->mlp-s/kd: 7 trials")
    assert lines[kd + 1 : kd + 3] == ["  temperature: 1 to 16, log", "  alpha: not searched: set"]
    assert "  nothing to search: its defaults are its only trial" in lines
    assert lines[-2] == "8 runs of trials, then up to 15 final runs"
    assert lines[-1].startswith("about ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is selected"),
        (["--all", "--metric", "agreement"], "--metric agreement: nothing to search by"),
        (["--all", "--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--all", "--sampler", "grid"], "'grid' is not one of"),
        (["--all", "--trials", "0"], "Invalid value for '--trials'"),
        (["--dataset", "wime"], "did you mean 'wine'?"),
        (["--all", "--executor", "locl"], "unknown executor 'locl'"),
        (["--all", "--set", "kd.temperature=-1"], "method 'kd'"),
    ],
)
def test_a_request_that_is_wrong_starts_nothing_and_exits_with_2(tmp_path, arguments, message):
    done = invoke(tmp_path, "tune", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not list(tmp_path.iterdir())


def test_an_interrupt_ends_with_130_and_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)  # ends the command as Ctrl-C does

    monkeypatch.setattr("kdbench.commands.tune.search", interrupted)
    done = invoke(tmp_path, *SEARCH)
    assert done.exit_code == 130
    assert "the same command continues" in done.output


def test_without_optuna_the_command_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = invoke(tmp_path, *SEARCH)
    assert done.exit_code == 1
    assert "pip install 'kdbench[tune]'" in done.output
    assert not list(tmp_path.iterdir())
