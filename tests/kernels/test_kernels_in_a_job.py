"""`kdbench run` and the kernels: built once by the parent, named in every record."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kdbench
from kdbench.store import Store

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def run(tmp_path):
    """Two short runs that need no distillation loss, in two workers; what was said, and the records."""

    def job(**variables: str):
        packages = [str(Path(kdbench.__file__).parents[1]), *sys.path]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(packages),
            "KDBENCH_KERNEL_SOURCES": str(STAND_IN),
            "KDBENCH_KERNEL_CACHE": str(tmp_path / "cache"),
            **variables,
        }
        command = ["run", "wine/mlp-l->mlp-s/scratch", "--seeds", "2", "--workers", "2", "--out", str(tmp_path / "out")]
        short = ["--set", "epochs=1", "--set", "teacher_recipe.epochs=1", "--device", "cpu"]
        done = subprocess.run(
            [sys.executable, "-m", "kdbench", *command, *short],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr, Store.open(tmp_path / "out", create=False).records()

    return job


def test_kernels_are_built_once_and_every_record_names_the_back_end(run, tmp_path):
    said, records = run()
    assert said.count("compiling CPU kernels") == 1
    assert [record.provenance.kernel_backend for record in records] == ["cpu", "cpu"]
    logs = [log.read_text() for log in (tmp_path / "out" / "logs").glob("*.log")]
    assert not any("compiling" in log for log in logs)


def test_without_a_compiler_the_job_says_so_and_runs_on_torch(run):
    said, records = run(PATH="/nonexistent")
    assert said.count("warning: the losses run on plain torch, not on compiled kernels") == 1
    assert "there is no C++ compiler" in said
    assert [record.provenance.kernel_backend for record in records] == ["torch", "torch"]
