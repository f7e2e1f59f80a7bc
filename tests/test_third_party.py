"""A plugin as a stranger would ship it: a distribution of its own, installed with pip beside kdbench."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Runs a program of a new virtual environment that has the distribution `kdbench-tempered` and sees kdbench."""
    directory = tmp_path_factory.mktemp("stranger")
    environment = directory / "venv"
    venv.create(environment, with_pip=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "parent.pth").write_text(
        "\n".join([sysconfig.get_paths()["purelib"], *(path for path in sys.path if path.endswith("plugins"))])
        + f"\nimport site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n"
    )

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        program = environment / "bin" / command[0]
        return subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, cwd=directory, timeout=600, check=False
        )

    written = run("python", "-m", "kdbench", "new-plugin", "tempered")
    assert written.returncode == 0, written.stderr
    installed = run("pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "./kdbench-tempered")
    assert installed.returncode == 0, installed.stderr
    return run


def test_its_plugin_is_listed_with_its_distribution_and_version(stranger):
    shown = json.loads(stranger("python", "-m", "kdbench", "plugins", "--json").stdout)
    (plugin,) = [plugin for plugin in shown if plugin["name"] == "tempered"]
    assert (plugin["distribution"], plugin["version"], plugin["state"]) == ("kdbench-tempered", "0.1.0", "loaded")
    assert plugin["registered"] == {"methods": ["tempered"]}


def test_its_method_is_listed_with_its_parameters(stranger):
    methods = json.loads(stranger("python", "-m", "kdbench", "list", "methods", "--json").stdout)
    (method,) = [method for method in methods if method["name"] == "tempered"]
    assert method["parameters"]["temperature"] == {"exclusiveMinimum": 0, "type": "number", "default": 4.0}


def test_its_method_is_on_the_leaderboard(stranger):
    done = stranger(
        "python", "-m", "kdbench", "run", "--dataset", "wine", "--teacher", "mlp-l",
        "--method", "scratch", "--method", "tempered",
        "--seeds", "2", "--set", "epochs=2", "--set", "teacher_recipe.epochs=2", "--workers", "1", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tempered" in done.stdout
    report = json.loads(done.stdout)
    rows = {row["method"]: row for row in report["leaderboards"][0]["rows"]}
    assert set(rows) == {"scratch", "tempered"}
    assert rows["tempered"]["n"] == 2


def test_its_own_test_passes(stranger):
    done = stranger("python", "-m", "pytest", "-q", "kdbench-tempered/tests")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_blocking_it_leaves_the_rest(stranger):
    methods = stranger("python", "-m", "kdbench", "-p", "no:tempered", "list", "methods").stdout
    assert "tempered" not in methods
    assert "kd" in methods


def test_a_bad_name_or_an_existing_directory_is_refused(stranger):
    again = stranger("python", "-m", "kdbench", "new-plugin", "Bad_Name")
    assert again.returncode == 2
    assert "cannot name a plugin" in again.stderr
    twice = stranger("python", "-m", "kdbench", "new-plugin", "tempered")
    assert twice.returncode == 2
    assert "exists already" in twice.stderr
