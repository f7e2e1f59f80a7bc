"""Kernels built at first use: from small stand-in sources, in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kdbench
from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build import cpu_build, ensure_built, find_built
from kdbench.kernel_build import targets as targets_module
from kdbench.kernel_build.cache import FAILURE_SECONDS
from kdbench.kernel_build.isas import machine_isas
from kdbench.kernel_build.targets import LIBRARY, MODULE

STAND_IN = Path(__file__).parent / "stand_in"
PACKAGES = [str(Path(kdbench.__file__).parents[1]), *(path for path in sys.path if path.endswith("plugins"))]

BUILD = """
import sys
from pathlib import Path
from kdbench.kernel_build import cache_directory, cpu_build, ensure_built, source_directory
built = ensure_built(cpu_build(source_directory()), cache_directory(), say=lambda text: print(text, file=sys.stderr))
print(built.directory)
"""
LOAD = """
import json
from kdbench.kernels.loading import load_cpu, problem
loaded = load_cpu()
assert load_cpu() is loaded
print(json.dumps(loaded and {"directory": str(loaded.built.directory), **loaded.native.build_info()}))
"""
LOSS = """
import json, torch
from kdbench import kernels
generator = torch.Generator().manual_seed(0)
student, teacher = torch.randn(2, 8, 10, generator=generator)
loss = [kernels.kd_kl(student, teacher, 4.0).item() for _ in range(3)]
p, q = (x.double().div(4).softmax(-1) for x in (teacher, student))
expected = 16 * (p * (p / q).log()).sum() / 8
print(json.dumps({"error": abs(loss[0] / expected.item() - 1), "backend": kernels.backend_name(student.device)}))
"""


@pytest.fixture
def sources(tmp_path):
    """Stand-in sources that a test may change, where the path is awkward."""
    return Path(shutil.copytree(STAND_IN, tmp_path / "a source's $HOME: x"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "the cache"


@pytest.fixture
def environment(sources, cache):
    """Of a process that builds the stand-in into the test's cache."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("KDBENCH_", "CXX"))}
    paths = {"KDBENCH_KERNEL_SOURCES": str(sources), "KDBENCH_KERNEL_CACHE": str(cache)}
    return {**cleared, **paths, "PYTHONPATH": os.pathsep.join(PACKAGES), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def python(environment, tmp_path):
    """Run a program text in a new process."""

    def run(program, **changes) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program], env={**environment, **changes},
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip

    return run


@pytest.fixture
def no_compiler(tmp_path):
    """A PATH without any program."""
    directory = tmp_path / "empty"
    directory.mkdir()
    return str(directory)


@pytest.fixture
def counting_compiler(tmp_path):
    """A compiler that writes a line to a file each time it compiles; and how often it did."""
    log, script = tmp_path / "compilations", tmp_path / "counting-c++"
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c "*) echo x >> "{log}";; esac\nexec {shutil.which("c++")} "$@"\n'
    )
    script.chmod(0o755)
    return str(script), lambda: len(log.read_text().split()) if log.exists() else 0


def build(sources, cache, **options):
    said: list[str] = []
    return ensure_built(cpu_build(sources), cache, say=said.append, **options), said


def test_a_first_use_compiles_with_a_note_and_the_next_process_loads_without_a_compiler(python, cache, no_compiler):
    first = python(LOAD)
    assert first.stderr == f"kdbench: compiling CPU kernels (once, about 10 s) into {cache} ...\n"
    loaded = json.loads(first.stdout)
    assert loaded["answer"] == 42
    assert Path(loaded["directory"]).parent == cache
    second = python(LOAD, PATH=no_compiler)
    assert (second.stderr, json.loads(second.stdout)) == ("", loaded)


def test_a_portable_build_has_rows_for_every_instruction_set_and_a_local_one_for_the_best_of_this_machine(
    sources, cache
):
    def rows(plan):
        return [one.title for one in plan.objects if one.title.startswith("cpu/rows.cpp")]

    portable, local = cpu_build(sources, portable=True), cpu_build(sources)
    assert portable.key != local.key
    names = ["v4", "v3", "baseline"] if platform.machine() == "x86_64" else ["baseline"]
    assert rows(portable) == [f"cpu/rows.cpp ({name})" for name in names]
    assert len(rows(local)) == 1
    assert rows(local)[0] in rows(portable)
    for plan in (portable, local):
        built = ensure_built(plan, cache, say=lambda _: None)
        assert built.facts["isas"] == [title.split("(")[1].rstrip(")") for title in rows(plan)]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ["baseline"]),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", ["v3", "baseline"]),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave avx512f avx512bw avx512cd avx512dq avx512vl",
         ["v4", "v3", "baseline"]),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave avx512f", ["v3", "baseline"]),
        ("avx512f avx512bw avx512cd avx512dq avx512vl", ["baseline"]),
    ],
)  # fmt: skip
def test_instruction_sets_are_those_whose_every_feature_the_processor_has(flags, expected):
    assert list(machine_isas("x86_64", f"processor : 0\nflags\t\t: fpu sse2 {flags}\n")) == expected


def test_a_processor_that_cannot_be_asked_gets_the_baseline():
    assert list(machine_isas("x86_64", "")) == list(machine_isas("aarch64", "")) == ["baseline"]


def test_eight_processes_at_once_build_once(environment, counting_compiler, sources):
    compiler, compilations = counting_compiler
    processes = [
        subprocess.Popen([sys.executable, "-c", BUILD], env={**environment, "CXX": compiler},
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]  # fmt: skip
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, results
    assert len({out for out, _ in results}) == 1
    assert sum("compiling CPU kernels" in error for _, error in results) == 1
    os.environ["CXX"] = compiler
    try:
        assert compilations() == len(cpu_build(sources).objects)
    finally:
        del os.environ["CXX"]


def test_a_process_killed_at_any_moment_leaves_nothing_that_hinders_the_next(environment, sources, cache):
    moments = random.Random(0)
    killed = attempt = 0
    while killed < 12 and attempt < 100:
        attempt += 1
        shutil.rmtree(cache, ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not (cache / "tmp").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.4))
        if process.poll() is None:
            killed += 1
            (os.kill if attempt % 2 else os.killpg)(process.pid, signal.SIGKILL)  # with its compilers, or without
        process.wait()
        built, _ = build(sources, cache)
        assert set(built.facts["files"]) == {LIBRARY, MODULE}
        assert find_built(cpu_build(sources), cache) == built
    assert killed == 12
    assert list((cache / "tmp").iterdir()) == []


def test_a_compiler_that_fails_costs_one_warning_with_its_message_and_the_losses_are_right(python, sources, cache):
    (sources / "cpu" / "ops.cpp").write_text("int broken() { return nonsense; }\n")
    done = python(LOSS)
    result = json.loads(done.stdout)
    assert result["backend"] == "torch"
    assert result["error"] < 1e-5
    assert done.stderr.count("KernelsUnavailable") == 1
    assert "error: 'nonsense' was not declared in this scope" in done.stderr.replace("‘", "'").replace("’", "'")
    (log,) = (cache / "logs").iterdir()
    assert str(log) in done.stderr
    assert "nonsense" in log.read_text()
    assert "kdbench kernels build" in done.stderr


def test_a_failed_build_is_not_repeated_by_other_processes_for_a_while(sources, cache, counting_compiler, monkeypatch):
    compiler, compilations = counting_compiler
    monkeypatch.setenv("CXX", compiler)
    (sources / "cpu" / "ops.cpp").write_text("#error no luck\n")
    with pytest.raises(KernelsNotBuilt, match="no luck") as first:
        build(sources, cache)
    tried = compilations()
    with pytest.raises(KernelsNotBuilt) as second:
        build(sources, cache)
    assert (str(second.value), compilations()) == (str(first.value), tried)
    with pytest.raises(KernelsNotBuilt):
        build(sources, cache, retry=True)
    assert compilations() > tried
    tried = compilations()
    later = time.time() + FAILURE_SECONDS + 1
    monkeypatch.setattr("kdbench.kernel_build.cache.time.time", lambda: later)
    with pytest.raises(KernelsNotBuilt):
        build(sources, cache)
    assert compilations() > tried


def test_without_a_compiler_one_warning_says_how_to_get_one(python, no_compiler):
    done = python(LOSS, PATH=no_compiler)
    assert json.loads(done.stdout)["backend"] == "torch"
    assert done.stderr.count("KernelsUnavailable") == 1
    assert "no c++, g++ or clang++ in PATH" in done.stderr
    assert "install a C++ compiler" in done.stderr


@pytest.mark.parametrize("place", ["/proc/no/cache", "a file"])
def test_a_cache_that_cannot_be_written_costs_one_warning_that_names_it(python, tmp_path, place):
    (tmp_path / "a file").touch()
    done = python(LOSS, KDBENCH_KERNEL_CACHE=str(tmp_path / place))
    assert json.loads(done.stdout)["backend"] == "torch"
    assert done.stderr.count("KernelsUnavailable") == 1
    assert str(tmp_path / place) in done.stderr
    assert "set KDBENCH_KERNEL_CACHE to a directory that can be written" in done.stderr


def test_missing_headers_cost_the_python_module_only(sources, cache, monkeypatch):
    monkeypatch.setattr(targets_module, "python_include", lambda: None)
    built, _ = build(sources, cache)
    assert set(built.facts["files"]) == {LIBRARY}
    assert "python3-dev" in built.facts["missing"][MODULE]
    monkeypatch.undo()
    whole, said = build(sources, cache)
    assert set(whole.facts["files"]) == {LIBRARY, MODULE}, "headers that were installed since are used"
    assert len(said) == 1


def test_a_python_module_that_does_not_compile_leaves_the_operators(python, sources):
    (sources / "python" / "module.cpp").write_text("#error no module\n")
    done = python(
        "from kdbench.kernels.loading import load_cpu\nloaded = load_cpu()\n"
        "assert loaded.native is None\nprint(loaded.native_problem)"
    )
    assert done.returncode == 0, done.stderr
    assert "error: #error no module" in done.stdout


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096, None])
def test_a_damaged_library_is_built_again(sources, cache, damage):
    built, _ = build(sources, cache)
    library = built.path(LIBRARY)
    good = library.read_bytes()
    library.unlink()
    if damage is not None:
        library.write_bytes(damage)
    again, said = build(sources, cache)
    assert again.path(LIBRARY).read_bytes()[:4] == good[:4] == b"\x7fELF"
    assert len(said) == 1
    assert build(sources, cache)[1] == []


def test_other_sources_flags_torch_or_compiler_share_nothing(sources, monkeypatch, tmp_path):
    keys = [cpu_build(sources).key]
    assert cpu_build(sources).key == keys[0]
    (sources / "problem.h").write_text("// another header\n")
    keys.append(cpu_build(sources).key)
    monkeypatch.setattr(targets_module, "MATH_FLAGS", ())
    keys.append(cpu_build(sources).key)
    torch = targets_module.find_torch()
    monkeypatch.setattr(targets_module, "find_torch", lambda: type(torch)(torch.root, "2.99.0", None))
    keys.append(cpu_build(sources).key)
    monkeypatch.setattr(targets_module, "module_suffix", lambda: ".cpython-399-x86_64-linux-gnu.so")
    keys.append(cpu_build(sources).key)
    other = tmp_path / "c++"
    other.write_text(f'#!/bin/sh\nexec {shutil.which("c++")} "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv("CXX", str(other))
    keys.append(cpu_build(sources).key)
    assert len(set(keys)) == len(keys)


def test_force_builds_again(sources, cache):
    first, _ = build(sources, cache)
    steps: list[str] = []
    second, said = build(sources, cache, force=True, on_step=steps.append)
    assert (second.directory, len(said)) == (first.directory, 1)
    assert len(steps) == len(cpu_build(sources).objects) + len(cpu_build(sources).libraries)


def test_building_imports_no_torch(python):
    done = python(
        "import sys\nfrom kdbench.kernel_build.prepare import prepare_kernels\n"
        "prepare_kernels('cpu', print)\nassert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kdbench: compiling CPU kernels")


def test_a_job_is_told_before_its_workers_start_that_kernels_cannot_be_built(python, no_compiler):
    done = python(
        "from kdbench.kernel_build.prepare import prepare_kernels\nprepare_kernels('cpu', print)", PATH=no_compiler
    )
    assert done.stdout.startswith("warning: the losses run on plain torch, not on compiled kernels\n  there is no C++")
    silent = python(
        "from kdbench.kernel_build.prepare import prepare_kernels\nprepare_kernels('cpu', print)",
        PATH=no_compiler, KDBENCH_KERNELS="torch",
    )  # fmt: skip
    assert (silent.returncode, silent.stdout) == (0, "")
