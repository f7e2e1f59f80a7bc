"""The online methods that take over the training, with several processes at one run."""

from __future__ import annotations

import pytest

from kdbench.store import Store

METHODS = ("dml", "takd", "progressive", "born_again", "early_stop_kd", "adaptive_kd")


@pytest.mark.slow
def test_two_processes_end_where_one_does(kdbench_command, tmp_path):
    found = []
    for devices in (1, 2):
        directory = tmp_path / str(devices)
        methods = [part for name in METHODS for part in ("--method", name)]
        settings = ("epochs=2", "teacher_recipe.epochs=4", "early_stop_kd.teacher_fraction=0.5")
        done = kdbench_command(
            "run", "--dataset", "wine", "--teacher", "mlp-l", "--recipe", "tabular", *methods, "--seeds", 1,
            "--devices", devices, *(part for text in settings for part in ("--set", text)), "--out", directory,
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        found.append({record.method: record for record in Store.open(directory, create=False).records()})
    one, two = found
    assert one.keys() == two.keys() == set(METHODS)
    for name, alone in one.items():
        both = two[name]
        assert (both.status, both.devices, both.cost.steps) == ("ok", 2, alone.cost.steps), name
        for row, row_alone in zip(both.history, alone.history, strict=True):
            assert row == pytest.approx(row_alone, rel=1e-2, abs=1e-4), name
