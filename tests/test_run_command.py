"""The main job as a user runs it: whole processes, real data."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMAND, environment, none_works_in, read_until, start_kdbench

from kdbench.store import Store

pytestmark = pytest.mark.slow
SHORT = ("--set", "epochs=2", "--set", "teacher_recipe.epochs=2")


def test_a_job_runs_prints_its_leaderboard_and_is_not_run_again(kdbench, tmp_path):
    arguments = ("run", "--dataset", "wine", "--method", "scratch", "--method", "kd", "--seeds", "2", *SHORT)
    first = kdbench(*arguments)
    assert first.returncode == 0, first.stderr
    assert "wine: mlp-l → mlp-s" in first.stdout
    assert "[4/4]" in first.stderr
    records = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert [record.status for record in records] == ["ok"] * 4
    assert len({record.provenance.teacher_fingerprint for record in records}) == 1
    assert sum(record.cost.teacher_forward_samples for record in records) == 106, "one pass over the training items"
    second = kdbench(*arguments)
    assert second.returncode == 0
    assert "4 of 4 runs are done already in kdbench-results: nothing to do" in second.stderr
    assert second.stdout == first.stdout


def test_the_same_seed_gives_the_same_bits(kdbench, tmp_path):
    for out in ("one", "two"):
        done = kdbench("run", "wine/mlp-l->mlp-s/fitnet", "--seed", 3, "--out", out, *SHORT, "--workers", 1)
        assert done.returncode == 0, done.stderr
    (one,), (two,) = (Store.open(tmp_path / out, create=False).records() for out in ("one", "two"))
    assert one.run_id == two.run_id
    for field in ("metrics", "val_metrics", "teacher_metrics", "history", "confusion", "selected_epoch"):
        assert getattr(one, field) == getattr(two, field), field
    predictions = [Store.open(tmp_path / out).predictions(one.run_id)["probabilities"] for out in ("one", "two")]
    assert predictions[0].tobytes() == predictions[1].tobytes()


def test_a_students_mixed_precision_serves_every_method_and_leaves_the_teacher_alone(kdbench, tmp_path):
    for out, settings in (("full", ()), ("mixed", ("--set", "recipe.precision=bf16-mixed", "--set", "clip_norm=1"))):
        done = kdbench("run", "--dataset", "wine", "--seeds", 1, *SHORT, *settings, "--out", out)
        assert done.returncode == 0, done.stderr
    full, mixed = (Store.open(tmp_path / out, create=False).records() for out in ("full", "mixed"))
    (fingerprint,) = {record.provenance.teacher_fingerprint for record in full}
    assert {record.provenance.teacher_fingerprint for record in mixed} == {fingerprint}
    assert all(a.history != b.history for a, b in zip(full, mixed, strict=True))


def test_the_command_of_a_record_repeats_it(kdbench, tmp_path):
    kdbench("run", "wine/mlp-l->mlp-s/kd", "--seed", 1, "--set", "kd.temperature=2", *SHORT)
    (record,) = Store.open(tmp_path / "kdbench-results", create=False).records()
    again = subprocess.run(
        record.provenance.command.replace("kdbench", f"{sys.executable} -m kdbench", 1) + " --out again",
        shell=True, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    (repeated,) = Store.open(tmp_path / "again", create=False).records()
    assert (repeated.run_id, repeated.metrics) == (record.run_id, record.metrics)


def test_each_misbehaving_method_costs_only_its_own_run(kdbench, tmp_path):
    expected = {
        "ReturnsNaN": ("diverged", "loss term 'loss' became nan in epoch 0"),
        "ReturnsVector": ("failed", "a loss that is not a scalar; term 'loss' has shape (32,)"),
        "ReturnsNumber": ("failed", "a loss that is not a scalar; term 'ce' has float"),
        "WithoutGradient": ("failed", "returned a loss without gradient"),
        "RaisesLater": ("failed", "method 'misbehaving:RaisesLater' raised in epoch 1; ValueError: no more"),
        "ReadsUndeclared": ("failed", "student and teacher differ in shape; (32, 3) and (32, 0)"),
        "OutOfMemory": ("failed", "MemoryError"),
        "Killed": ("failed", "killed by SIGKILL, as the system does when memory runs out"),
        "Exits": ("failed", "exited with code 3; it last said: goodbye"),
        "Hangs": ("timeout", "longer than --max-time 20 s"),
    }
    methods = [part for name in expected for part in ("--method", f"misbehaving:{name}")]
    done = kdbench("run", "--dataset", "wine", "--method", "scratch", *methods, "--seeds", 1, "--max-time", 20, *SHORT)
    assert done.returncode == 1
    records = {record.method.removeprefix("misbehaving:"): record for record in
               Store.open(tmp_path / "kdbench-results", create=False).records()}  # fmt: skip
    assert records.pop("scratch").status == "ok"
    assert set(records) == set(expected)
    for name, (status, error) in expected.items():
        assert records[name].status == status, name
        assert error in records[name].error, name
        assert name in done.stdout
    again = kdbench("run", "--dataset", "wine", "--method", "misbehaving:RaisesLater",
                    "--method", "misbehaving:ReturnsNaN", "--seeds", 1, *SHORT)  # fmt: skip
    assert "1 of 2 runs are done already" in again.stderr, "a failed run is tried again, a diverged one is not"


def test_a_teacher_that_cannot_be_had_costs_its_own_runs_once(kdbench, tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    done = kdbench("run", "--dataset", "wine", "--seeds", 2, *SHORT, "--set", "teacher_checkpoint=bad.pt")
    assert done.returncode == 1
    records = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert len(records) == 10
    assert all("teacher 'mlp-l' could not be had: checkpoint 'bad.pt'" in record.error for record in records)
    assert done.stderr.count("teacher mlp-l on wine") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "wime"], "unknown dataset 'wime'\n  did you mean 'wine'?"),
        (["--method", "fitnett"], "unknown method 'fitnett'\n  did you mean 'fitnet'?"),
        (["--all", "--set", "kd.temperature=-1"], "method 'kd'"),
        (["--all", "--set", "temprature=2"], "did you mean 'temperature'?"),
        (["--all", "--executor", "locl"], "unknown executor 'locl'"),
        (["--all", "--format", "xml"], "unknown report format 'xml'"),
        (["--all", "--metric", "acuracy"], "unknown metric 'acuracy'\n  did you mean 'accuracy'"),
        (["--all", "--device", "tpu"], "--device tpu"),
        (["--all", "--device", "cuda", "--devices", "64"], "--device"),
        (["--all", "--set", "precision=16-mixed", "--device", "cpu"], "cannot run on the CPU in precision '16-mixed'"),
        (["--all", "--set", "precision=64-true"], "Invalid enum value '64-true'"),
        (["--all", "-p", "no:nothing"], "no plugin is named 'nothing'"),
        ([], "nothing is selected"),
    ],
)
def test_a_request_that_is_wrong_starts_nothing_and_exits_with_2(kdbench, tmp_path, arguments, message):
    done = kdbench("run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "kdbench-results").exists()


def test_an_output_directory_that_is_a_file_is_refused(kdbench, tmp_path):
    (tmp_path / "taken").write_text("mine")
    done = kdbench("run", "wine/mlp-l->mlp-s/kd", "--out", "taken", *SHORT)
    assert done.returncode == 1
    assert "cannot use taken as a results directory" in done.stderr
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_directory_that_may_not_be_written_to_is_refused(kdbench, tmp_path):
    if os.geteuid() == 0:
        parent = Path("/proc")  # root may write anywhere but here
    else:
        parent = tmp_path / "closed"
        parent.mkdir(mode=0o500)
    done = kdbench("run", "wine/mlp-l->mlp-s/kd", "--out", parent / "results", *SHORT)
    assert done.returncode == 1
    assert f"cannot use {parent}/results as a results directory" in done.stderr
    assert "choose a directory that you can write to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited there")
@pytest.mark.parametrize(
    ("blocks", "message"),
    [(1, "error: cannot write run"), (600, "teacher 'mlp-l' could not be had: cannot keep the trained teacher in")],
)
def test_a_full_disk_is_told_and_loses_nothing(kdbench, tmp_path, blocks, message):
    """A limit on the size of files (ulimit -f) refuses to write as a full disk does."""
    arguments = ("run", "wine/mlp-l->mlp-s/kd", "--seeds", 1, *SHORT)
    pair = ("--dataset", "wine", "--teacher", "mlp-m", "--student", "mlp-s")
    kept = kdbench("run", *pair, "--method", "scratch", "--seeds", 1, *SHORT)
    assert kept.returncode == 0, kept.stderr
    command = shlex.join([*COMMAND, *map(str, arguments)])
    full = subprocess.run(
        ["bash", "-c", f"ulimit -f {blocks}; exec {command}"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert full.returncode == 1
    assert message in full.stderr
    assert "Traceback" not in full.stderr
    assert "free some space" in full.stderr
    assert not list((tmp_path / "kdbench-results/tmp").iterdir())
    assert not list((tmp_path / "kdbench-results/teachers").glob("*.part"))
    again = kdbench(*arguments)
    assert again.returncode == 0, again.stderr
    statuses = Store.open(tmp_path / "kdbench-results", create=False).statuses()
    assert list(statuses.values()) == ["ok", "ok"]


def test_a_truncated_record_is_told_and_its_run_done_again(kdbench, tmp_path):
    arguments = ("run", "wine/mlp-l->mlp-s/kd", "--seeds", 2, *SHORT)
    first = kdbench(*arguments)
    paths = sorted((tmp_path / "kdbench-results/runs").glob("*/record.json"))
    paths[0].write_bytes(paths[0].read_bytes()[:100])
    report = kdbench("report")
    assert report.returncode == 0
    assert f"warning: {paths[0].relative_to(tmp_path)} is damaged" in report.stderr
    again = kdbench(*arguments)
    assert again.returncode == 0
    assert f"warning: {paths[0].relative_to(tmp_path)} is damaged" in again.stderr
    assert "1 of 2 runs are done already" in again.stderr
    assert again.stdout.splitlines()[3].split()[:5] == first.stdout.splitlines()[3].split()[:5]


@pytest.mark.parametrize("option", ["--resume", "--fresh"])
def test_a_record_of_a_newer_kdbench_is_never_overwritten(kdbench, tmp_path, option):
    arguments = ("run", "wine/mlp-l->mlp-s/kd", "--seeds", 1, *SHORT)
    kdbench(*arguments)
    (path,) = (tmp_path / "kdbench-results/runs").glob("*/record.json")
    content = path.read_bytes().replace(b'"schema":1', b'"schema":99', 1)
    path.write_bytes(content)
    done = kdbench(*arguments, option)
    assert done.returncode == 1
    assert "written by a newer kdbench (schema 99" in done.stderr
    assert "pip install --upgrade kdbench" in done.stderr
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("dataset", "error"),
    [
        ("misbehaving:one_class", "all 8 items are of 1 class"),
        ("misbehaving:nan", "item 3, column 1 is nan"),
        ("misbehaving:out_of_range", "item 0 has label 7"),
        ("misbehaving:few", "needs at least 5 of every class"),
        ("misbehaving:broken", "RuntimeError: the factory broke"),
    ],
)
def test_data_that_cannot_be_trained_on_is_told_in_the_record(kdbench, tmp_path, dataset, error):
    done = kdbench("run", "--dataset", dataset, "--teacher", "mlp-m", "--student", "mlp-s", "--method", "kd",
                   "--seeds", 1, *SHORT)  # fmt: skip
    assert done.returncode == 1
    (record,) = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert record.status == "failed"
    assert error in record.error
    assert dataset in record.error
    assert " ".join(error.split()) in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("student", "error"),
    [
        ("misbehaving:wrong_classes", "logits"),
        ("misbehaving:wrong_shape", "input"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused_by_name(kdbench, tmp_path, student, error):
    done = kdbench("run", "--dataset", "wine", "--teacher", "mlp-m", "--student", student, "--method", "kd",
                   "--seeds", 1, *SHORT)  # fmt: skip
    assert done.returncode == 1
    (record,) = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert record.status == "failed"
    assert student in record.error
    assert error in record.error


def test_two_processes_share_one_plan_and_one_store(tmp_path):
    arguments = ("run", "--dataset", "wine", "--teacher", "mlp-l", "--seeds", "2", *SHORT, "--workers", "1")
    both = [start_kdbench(tmp_path, *arguments) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0], "both print the whole leaderboard"
    store = Store.open(tmp_path / "kdbench-results", create=False)
    assert [record.status for record in store.records()] == ["ok"] * 10
    costs = [record.cost for record in store.records()]
    assert sum(0 < cost.batch_seconds < cost.seconds["train"] for cost in costs) == 10


def test_an_interrupt_keeps_what_is_finished_and_the_same_command_continues(tmp_path, kdbench):
    arguments = ["run", "--dataset", "wine", "--seeds", "4", *SHORT, "--workers", "1"]
    process = start_kdbench(tmp_path, *arguments, start_new_session=True)
    read_until(process, "[2/20]")
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in stderr
    assert "Traceback" not in stderr
    kept = {record.run_id for record in Store.open(tmp_path / "kdbench-results", create=False).records()}
    assert 2 <= len(kept) < 20
    assert none_works_in(tmp_path)
    done = kdbench(*arguments)
    assert done.returncode == 0
    assert f"{len(kept)} of 20 runs are done already" in done.stderr


def test_the_epochs_of_a_fine_tune_go_on_counting(kdbench, tmp_path):
    done = kdbench("run", "wine/mlp-l->mlp-s/kd", "--seeds", 1, *SHORT, "--set", "finetune_epochs=3")
    assert done.returncode == 0, done.stderr
    (record,) = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert [row["epoch"] for row in record.history] == [0, 1, 2, 3, 4]
    assert record.history[-1]["lr"] < record.recipe_settings["lr"] / 10
    assert record.cost.steps == 5 * 4
    assert record.cost.seconds["finetune"] > 0
    assert "kd" in record.history[1]
    assert "kd" not in record.history[2]


def test_a_dry_run_prints_the_plan_and_an_estimate_and_writes_nothing(kdbench, tmp_path):
    done = kdbench("run", "--dataset", "wine", "--seeds", 2, "--dry-run")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert sum(line.startswith("to run") for line in lines) == 10
    assert lines[-2].startswith("10 runs, 10 to run")
    assert lines[-1].startswith("about ")
    assert not list(tmp_path.iterdir())


def test_what_a_method_cannot_serve_is_refused_before_any_training_and_the_rest_runs(kdbench, tmp_path):
    missing = ("--set", 'fitnet.student_layer="stage7"')
    methods = [part for name in ("kd", "at", "fitnet") for part in ("--method", name)]
    pair = ("--dataset", "wine", "--teacher", "mlp-l", "--student", "mlp-s")
    arguments = ("run", *pair, *methods, *missing, "--seeds", 2, *SHORT)
    reasons = {
        "at": "refused before any training: method 'at' cannot serve this pair: it needs feature maps (C, H, W)",
        "fitnet": "refused before any training: model 'mlp-s' has no feature 'stage7'",
    }
    planned = kdbench(*arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert sum(line.startswith("refused") for line in lines) == 4
    assert sum(line.startswith("to run") for line in lines) == 2
    for method, reason in reasons.items():
        assert f"wine/mlp-l->mlp-s/{method}: {reason}" in planned.stdout
    assert "6 runs, 2 to run, 4 refused" in planned.stdout
    assert not list(tmp_path.iterdir())
    done = kdbench(*arguments)
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert all(": FAILED: refused before any training" in line for line in told[:4])
    assert told[4] == "teacher mlp-l on wine"
    records = Store.open(tmp_path / "kdbench-results", create=False).records()
    assert {record.status for record in records if record.method == "kd"} == {"ok"}
    for record in records:
        if record.method != "kd":
            assert record.status == "failed"
            assert reasons[record.method] in record.error


def test_data_that_is_not_here_is_told_with_the_command_that_gets_it(kdbench, tmp_path):
    done = kdbench("run", "--dataset", "mnist", "--method", "kd", *SHORT)
    assert done.returncode == 0
    assert "not run: mnist" in done.stdout
    assert "kdbench data fetch mnist" in done.stdout


def test_folds_test_every_item_once(kdbench, tmp_path):
    done = kdbench("run", "wine/mlp-l->mlp-s/scratch", "--folds", 3, "--seeds", 1, *SHORT)
    assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path / "kdbench-results", create=False)
    records = sorted(store.records(), key=lambda record: record.fold)
    assert [(record.fold, record.folds) for record in records] == [(0, 3), (1, 3), (2, 3)]
    assert sum(len(store.predictions(record.run_id)["labels"]) for record in records) == 178
    assert json.loads(kdbench("report", "--format", "json").stdout)["leaderboards"][0]["folds"] == 3
