"""What counts as a run's time under --max-time, on a clock that only what is told moves."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from kdbench.executors import Execution, local, workers
from kdbench.outcomes import now
from kdbench.plan import Repeats, Run, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection

LIMIT = 60.0


class Told:
    """What an executor tells; each telling of the kind `slow` takes longer than a run may."""

    def __init__(self, slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slow, self.now = slow, 0.0
        self.prepared: list[str] = []
        self.ended: list[tuple[str, str]] = []
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=time.sleep)
        for module in (local, workers):
            monkeypatch.setattr(module, "time", clock)

    def preparing(self, text: str) -> None:
        self.prepared.append(text)
        self.now += LIMIT + 1 if self.slow == "preparing" else 0

    def epoch_finished(self, run: Run, phase: str, **_: object) -> None:
        self.now += LIMIT + 1 if self.slow == phase else 0

    def run_finished(self, run: Run, record: object) -> None:
        self.ended.append((record.status, record.error or ""))

    def teacher_started(self, run: Run) -> None:
        pass

    run_started = teacher_started


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slow", "method", "ended"),
    [
        ("preparing", "scratch", ("ok", "")),
        ("train", "misbehaving:HangsLater", ("timeout", f"it took longer than --max-time {LIMIT:g} s")),
    ],
)
def test_what_is_prepared_once_for_all_runs_is_no_runs_time_and_training_is(tmp_path, monkeypatch, slow, method, ended):
    catalog = load_plugins().catalog
    selection = Selection(
        dataset=("misbehaving:slow_to_prepare",), teacher=("mlp-s",), student=("mlp-s",), method=(method,)
    )
    (run,) = make_plan(catalog, selection, ("epochs=2",), Repeats(seeds=(0,))).runs
    told = Told(slow, monkeypatch)
    local.execute([run], Execution(directory=tmp_path, started=now(), max_time=LIMIT), told)
    assert told.prepared[:2] == ["slow: half", "slow: all"]
    assert told.ended == [ended]
