"""Which back end serves a device, and what is said where the one that was asked for cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import kdbench
from kdbench.errors import BackendUnavailable, UsageError
from kdbench.kernels import backend_name, use_backend

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def ask(tmp_path):
    """Evaluate expressions in a process with its own KDBENCH_KERNELS and an empty cache."""

    def asked(*expressions, **variables):
        program = "import json, torch\nfrom kdbench.kernels import backend_name, use_backend\n"
        program += f"print(json.dumps([{', '.join(expressions)}]))"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(kdbench.__file__).parents[1]), *sys.path]),
            "KDBENCH_KERNEL_CACHE": str(tmp_path / "cache"),
            "KDBENCH_KERNEL_SOURCES": str(STAND_IN),
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return asked


def test_forced_torch_builds_nothing(ask, tmp_path):
    done = ask("backend_name('cpu')", "backend_name(torch.device('cpu'))", KDBENCH_KERNELS="torch")
    assert (json.loads(done.stdout), done.stderr) == (["torch", "torch"], "")
    assert not (tmp_path / "cache").exists()


def test_the_cpu_gets_compiled_kernels_and_devices_without_any_get_torch(ask):
    done = ask(
        "backend_name('cpu')", "backend_name(torch.device('cpu'))", "backend_name('mps')", "backend_name('meta')"
    )
    assert json.loads(done.stdout) == ["cpu", "cpu", "torch", "torch"]


def test_a_forced_back_end_that_cannot_be_built_is_an_error_with_the_reason_and_no_warning(ask):
    done = ask("backend_name('cpu')", KDBENCH_KERNELS="cpu", PATH="/nonexistent")
    assert done.returncode == 1
    assert "BackendUnavailable: kernel back end 'cpu', forced by KDBENCH_KERNELS=cpu, cannot be had" in done.stderr
    assert "there is no C++ compiler" in done.stderr
    assert "KernelsUnavailable" not in done.stderr


def test_an_unknown_name_in_the_environment_is_refused(ask):
    done = ask("backend_name('cpu')", KDBENCH_KERNELS="cdua")
    assert "KDBENCH_KERNELS: unknown kernel back end 'cdua'" in done.stderr
    assert "did you mean 'cuda'" in done.stderr


def test_a_back_end_forced_on_a_device_that_it_does_not_serve_is_refused():
    with use_backend("cuda"), pytest.raises(BackendUnavailable, match="does not serve tensors on device cpu"):
        backend_name(torch.device("cpu"))


def test_a_block_forces_and_gives_back():
    with use_backend("torch"):
        assert backend_name("cpu") == "torch"
        with use_backend("torch"), use_backend(None):
            assert backend_name("meta") == "torch"
        with pytest.raises(UsageError, match="unknown kernel back end 'gpu'"), use_backend("gpu"):
            pass
        assert backend_name("cpu") == "torch"


def test_torch_compile_traces_the_choice_and_follows_a_forced_one(ask):
    done = ask(
        "(f := torch.compile(lambda x: 2 * x if backend_name(x.device) == 'cpu' else 3 * x, fullgraph=True,"
        " backend='eager')) and None",
        "f(torch.ones(())).item()",
        "use_backend('torch')(f)(torch.ones(())).item()",
        "f(torch.ones(())).item()",
    )
    assert json.loads(done.stdout) == [None, 2, 3, 2], done.stderr
