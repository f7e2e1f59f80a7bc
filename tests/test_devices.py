"""`--devices N` as a user runs it: several processes train one run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from commands import none_works_in, read_until, start_kdbench

from kdbench.device import check_devices
from kdbench.errors import UsageError
from kdbench.records import Record
from kdbench.store import Store

SHORT = ("--set", "epochs=3", "--set", "teacher_recipe.epochs=3")


def records(directory: Path) -> dict[str, Record]:
    return {r.method.removeprefix("misbehaving:"): r for r in Store.open(directory, create=False).records()}


@pytest.mark.slow
def test_two_processes_end_where_one_does(kdbench, tmp_path):
    """Without batch norm: the same batches, steps and teacher; results equal up to rounding; one writer."""
    methods = ("scratch", "kd", "logit_mse", "misbehaving:TakesOverTogether")
    arguments = (
        "run",
        "--dataset",
        "wine",
        "--teacher",
        "mlp-l",
        *(part for name in methods for part in ("--method", name)),
        "--seeds",
        1,
        *SHORT,
    )
    for devices in (1, 2):
        done = kdbench(*arguments, "--devices", devices, "--out", f"by-{devices}")
        assert done.returncode == 0, done.stderr
    one, two = records(tmp_path / "by-1"), records(tmp_path / "by-2")
    assert {r.devices for r in one.values()} == {1}
    assert {r.devices for r in two.values()} == {2}
    assert not {r.run_id for r in one.values()} & {r.run_id for r in two.values()}
    for name, alone in one.items():
        both = two[name]
        assert (both.status, both.cost.steps, both.selected_epoch) == ("ok", alone.cost.steps, alone.selected_epoch)
        for row, row_alone in zip(both.history, alone.history, strict=True):
            assert row == pytest.approx(row_alone, rel=1e-3), name
        assert both.metrics == pytest.approx(alone.metrics, rel=1e-3, abs=1e-6)
        assert both.teacher_metrics == pytest.approx(alone.teacher_metrics, rel=1e-3)
        assert "--devices 2" in both.provenance.command
    assert sum(r.cost.teacher_forward_samples for r in two.values()) == 106, "one pass over the training items"
    assert "2 processes for each run" in " ".join(done.stdout.split())
    again = kdbench(*arguments, "--devices", 2, "--out", "by-2")
    assert "4 of 4 runs are done already" in again.stderr


@pytest.mark.slow
def test_what_stops_one_process_costs_its_run_alone_and_is_told(kdbench, tmp_path):
    expected = {
        "SecondKilled": ("failed", "process 2 of its 2 was killed by SIGKILL, as the system does when memory runs out"),
        "SecondRaises": ("failed", "method 'misbehaving:SecondRaises' raised in epoch 1; ValueError: no more"),
        "SecondExits": ("failed", "process 2 of its 2 exited with code 3; it last said: goodbye"),
        "SecondHangs": ("timeout", "longer than --max-time 30 s"),
        "SecondReturnsNaN": ("diverged", "loss term 'loss' became nan in epoch 0"),
        "FirstRaises": ("failed", "method 'misbehaving:FirstRaises' raised in epoch 1; ValueError: no more"),
    }
    methods = [part for name in (*expected, "TakesOverTogether") for part in ("--method", f"misbehaving:{name}")]
    done = kdbench("run", "--dataset", "wine", "--teacher", "mlp-l",
                   "--method", "scratch", *methods, "--seeds", 1, "--devices", 2,
                   "--max-time", 30, *SHORT)  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = records(tmp_path / "kdbench-results")
    assert found.pop("scratch").status == "ok"
    assert found.pop("TakesOverTogether").status == "ok"
    assert set(found) == set(expected)
    for name, (status, error) in expected.items():
        assert found[name].status == status, (name, found[name].error)
        assert error in found[name].error, (name, found[name].error)
        assert found[name].devices == 2


@pytest.mark.slow
def test_a_teacher_that_cannot_be_had_costs_its_own_runs_once(kdbench, tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    done = kdbench(
        "run",
        "--dataset",
        "wine",
        "--teacher",
        "mlp-l",
        "--seeds",
        1,
        *SHORT,
        "--devices",
        2,
        "--set",
        "teacher_checkpoint=bad.pt",
    )
    assert done.returncode == 1
    found = records(tmp_path / "kdbench-results")
    assert len(found) == 5
    assert all("teacher 'mlp-l' could not be had: checkpoint 'bad.pt'" in r.error for r in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_command_and_the_same_command_continues(tmp_path, kdbench, sent):
    arguments = ["run", "--dataset", "wine", "--teacher", "mlp-l", "--seeds", "2", *SHORT, "--devices", "2"]
    process = start_kdbench(tmp_path, *arguments)
    read_until(process, "[2/10]")
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert none_works_in(tmp_path), "each process ends by itself when the command is gone"
    done = kdbench(*arguments)
    assert done.returncode == 0, done.stderr
    assert "of 10 runs are done already" in done.stderr
    assert {r.status for r in Store.open(tmp_path / "kdbench-results", create=False).records()} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_command_that_is_killed_leaves_the_users_files_alone_and_none_of_its_own_behind(tmp_path, devices):
    """Workers that outlive the command by a moment tidy up after it, and touch nothing but what it made."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    (home / "mine").mkdir(parents=True)
    temporary.mkdir()
    (home / "mine" / "notes.txt").write_text("precious")
    (home / "meeting").write_text("precious too")
    arguments = (
        "run",
        "--dataset",
        "wine",
        "--teacher",
        "mlp-l",
        "--seeds",
        4,
        *SHORT,
        "--devices",
        devices,
        "--out",
        "results",
    )
    process = start_kdbench(home, *arguments, variables={"TMPDIR": str(temporary)})
    read_until(process, "[1/20]")
    process.kill()
    process.communicate(timeout=60)
    assert none_works_in(home)
    assert (home / "mine" / "notes.txt").read_text() == "precious"
    assert (home / "meeting").read_text() == "precious too"
    assert list(Store.open(home / "results", create=False).records()), "what was finished is kept"
    assert not list(temporary.glob("kdbench-*"))


@pytest.mark.slow
def test_a_method_that_takes_over_the_training_is_refused_by_name_before_anything_starts(kdbench, tmp_path):
    done = kdbench(
        "run", "--dataset", "wine", "--teacher", "mlp-l", "--method", "misbehaving:TakesOver", "--devices", 2
    )
    assert done.returncode == 2
    assert "method 'misbehaving:TakesOver' cannot run combo" in done.stderr
    assert "with --devices 2" in done.stderr
    assert not (tmp_path / "kdbench-results").exists()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("mps", "an Apple GPU is one device"),
        ("cuda:1", "several processes need a GPU each"),
        ("cuda", "torch finds 1 GPUs here"),
    ],
)
def test_more_processes_than_devices_are_refused(monkeypatch, device, message):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match=message):
        check_devices(device, 2)
    check_devices(device, 1)
    check_devices("cpu", 2)
