"""Wheels: kernels built into one ahead of time, and one that carries their sources only."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "stand_in"
CSRC = {
    path.relative_to(ROOT / "csrc").as_posix()
    for pattern in ("*.cpp", "*.h", "*.cu", "*.cuh")
    for path in (ROOT / "csrc").rglob(pattern)
}
LOAD = """
import json, sys
from kdbench.kernels import loading
loaded = loading.load_cpu()
where = loaded and str(loaded.built.directory)
answer = loaded and loaded.native and loaded.native.build_info().get("answer")
print(json.dumps({"directory": where, "answer": answer, "facts": loaded and loaded.built.facts}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is in the repository, without what was built in it."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("csrc", "kdbench", "plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KDBENCH_", "PYTHONPATH", "CXX"))}
    return {**kept, **changes}


def pip_wheel(tree: Path, into: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    options = ("--no-build-isolation", "--no-deps", "--no-index", "-v")
    return subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "-w", into, tree],
        env=environment(**changes), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pure_wheel(tree, tmp_path_factory):
    into = tmp_path_factory.mktemp("pure")
    done = pip_wheel(tree, into)
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = into.iterdir()
    return wheel


@pytest.fixture(scope="module")
def built_wheel(tree, tmp_path_factory):
    """With the stand-in's libraries, which take a second to compile."""
    into = tmp_path_factory.mktemp("built")
    done = pip_wheel(tree, into, KDBENCH_BUILD_KERNELS="1", KDBENCH_KERNEL_SOURCES=str(STAND_IN))
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = into.iterdir()
    return wheel


def installed(wheel: Path, directory: Path) -> Path:
    """The wheel unpacked where a PYTHONPATH finds it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def load(site: Path, tmp_path: Path, **changes: str) -> tuple[dict, str]:
    changes = {"PYTHONPATH": str(site), "KDBENCH_KERNEL_CACHE": str(tmp_path / "cache"), **changes}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment(**changes), capture_output=True, text=True, timeout=300,
        check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_plain_wheel_is_pure_and_carries_every_source(pure_wheel):
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(pure_wheel).namelist())
    assert {f"kdbench/kernels/csrc/{name}" for name in CSRC} <= names
    assert not [name for name in names if name.endswith(".so")]


def test_a_plain_wheel_compiles_the_sources_that_it_carries(pure_wheel, tmp_path):
    found, said = load(installed(pure_wheel, tmp_path / "site"), tmp_path)
    assert Path(found["directory"]).parent == tmp_path / "cache"
    assert said.count("\n") == 1, said
    assert "compiling CPU kernels" in said


def test_a_wheel_built_ahead_loads_without_a_compiler_or_a_cache(built_wheel, tmp_path):
    found, said = load(
        installed(built_wheel, tmp_path / "site"), tmp_path, KDBENCH_KERNEL_SOURCES=str(STAND_IN), PATH="/nonexistent",
        KDBENCH_KERNEL_CACHE="/proc/no/cache",
    )  # fmt: skip
    assert said == ""
    assert Path(found["directory"]) == tmp_path / "site" / "kdbench" / "kernels" / "prebuilt" / "cpu"
    assert found["answer"] == 42


def test_a_wheel_built_ahead_is_for_this_python_and_every_machine_of_this_kind(built_wheel, tmp_path):
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{tag}-{tag}-" in built_wheel.name
    assert built_wheel.name.endswith(f"{platform.machine()}.whl")
    facts = json.loads((installed(built_wheel, tmp_path) / "kdbench/kernels/prebuilt/cpu/build.json").read_text())
    assert facts["isas"] == (["v4", "v3", "baseline"] if platform.machine() == "x86_64" else ["baseline"])
    assert facts["abi"] == sysconfig.get_config_var("EXT_SUFFIX")
    assert facts["missing"] == {}
    assert facts["torch"]


def test_a_wheel_for_another_python_is_not_used(built_wheel, tmp_path):
    site = installed(built_wheel, tmp_path / "site")
    description = site / "kdbench/kernels/prebuilt/cpu/build.json"
    facts = json.loads(description.read_text())
    description.write_text(json.dumps(facts | {"abi": ".cpython-399-x86_64-linux-gnu.so"}))
    found, said = load(site, tmp_path, KDBENCH_KERNEL_SOURCES=str(STAND_IN))
    assert Path(found["directory"]).parent == tmp_path / "cache"
    assert found["answer"] == 42
    assert "compiling CPU kernels" in said


def test_asking_for_kernels_that_do_not_compile_fails_with_the_compilers_message(tree, tmp_path):
    sources = Path(shutil.copytree(STAND_IN, tmp_path / "sources"))
    (sources / "cpu" / "ops.cpp").write_text("#error not today\n")
    done = pip_wheel(tree, tmp_path / "out", KDBENCH_BUILD_KERNELS="1", KDBENCH_KERNEL_SOURCES=str(sources))
    assert done.returncode != 0
    assert "KDBENCH_BUILD_KERNELS: the cpu kernels did not compile" in done.stdout + done.stderr
    assert "error: #error not today" in done.stdout + done.stderr


def test_an_sdist_carries_every_source(tree, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", tmp_path, tree],
        env=environment(), check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"csrc/{name}" for name in CSRC} <= names
