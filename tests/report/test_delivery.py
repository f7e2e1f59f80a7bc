"""Where run and report put what they make: text on stdout, a page or bytes never on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from commands import COMMAND, environment, run_kdbench
from page_runs import fill

from kdbench.store import Store

pytestmark = pytest.mark.slow
RUN = ("run", "wine/mlp-l->mlp-s/scratch", "--seeds", "1", "--set", "epochs=1", "--workers", "1", "--out", "results")
RUN += ("--device", "cpu", "--set", "teacher_recipe.epochs=1")


def on_a_terminal(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """The command with a terminal as stdout: the exit code, what was printed, and what was told."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=directory, env=environment(), stdout=slave, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    os.close(slave)
    _, told = process.communicate(timeout=300)
    printed = b""
    try:
        while part := os.read(master, 65536):
            printed += part
    except OSError:  # its other end is closed, and all is read
        pass
    finally:
        os.close(master)
    return process.returncode, printed.decode(), told


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Results of one real run."""
    directory = tmp_path_factory.mktemp("job")
    done = run_kdbench(directory, *RUN)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("command", [RUN, ("report", "results")], ids=["run", "report"])
def test_a_page_on_a_terminal_goes_to_a_file_that_is_told(directory, command):
    page = directory / "results" / "report.html"
    page.unlink(missing_ok=True)
    code, printed, told = on_a_terminal(directory, *command, "--format", "html")
    assert (code, printed) == (0, "")
    assert f"written: {Path('results') / 'report.html'}" in told
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("command", [RUN, ("report", "results")], ids=["run", "report"])
def test_a_page_that_is_redirected_is_printed(directory, command):
    page = directory / "results" / "report.html"
    page.unlink(missing_ok=True)
    done = run_kdbench(directory, *command, "--format", "html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")
    assert not page.exists()


@pytest.mark.parametrize("command", [RUN, ("report", "results")], ids=["run", "report"])
def test_parquet_is_refused_on_a_terminal_and_written_where_it_is_redirected(directory, command):
    code, printed, told = on_a_terminal(directory, *command, "--format", "parquet")
    assert (code, printed) == (2, "")
    assert "not for a terminal" in told
    assert "--format parquet --output FILE.parquet" in told
    done = subprocess.run(
        [*COMMAND, *command, "--format", "parquet"], cwd=directory, env=environment(), capture_output=True, check=True
    )
    assert pd.read_parquet(io.BytesIO(done.stdout))["method"].tolist() == ["scratch"]


def test_run_refuses_parquet_on_a_terminal_before_it_does_anything(tmp_path):
    code, _, _ = on_a_terminal(tmp_path, *RUN, "--format", "parquet")
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_both_commands_print_the_same_table(directory):
    assert run_kdbench(directory, *RUN).stdout == run_kdbench(directory, "report", "results").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--watch", "--format", "csv"), "does not go with --format csv"),
        (("--watch", "--output", "page.html"), "does not go with --output"),
        (("--watch", "--plots", "pictures"), "does not go with --plots"),
        (("--watch", "--format", "html", "--output", "page.html"), "does not go with --output"),
        (("--port", "8000"), "--port is where --watch serves"),
        (("--watch", "-k", "and and"), "is not an expression"),
        (("--watch", "--timings", "none.json"), "none.json cannot be read"),
        (("--format", "csv", "--timings", "none.json"), "--timings are shown on the page"),
        (("--watch", "--port", "70000"), "70000 is not in the range"),
    ],
)
def test_what_does_not_go_with_watching_is_one_usage_error(kdbench, tmp_path, arguments, told):
    fill(Store.open(tmp_path / "kdbench-results"), datasets=1, seeds=1)
    done = kdbench("report", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "http://" not in done.stderr


def test_watching_what_is_no_store_is_one_error(kdbench, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        done = kdbench("report", name, "--watch")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: {name} is not a kdbench results directory")
