"""kdbench as a user runs it: whole processes that can import the modules of tests/."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "kdbench")


def environment() -> dict[str, str]:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_kdbench(directory: Path, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """The command, finished, with what it printed."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, text=True, cwd=directory, env=environment(), timeout=timeout, check=False,
    )  # fmt: skip


def start_kdbench(
    directory: Path, *arguments: object, variables: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """The command, just started; its output is read from its pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=directory, env=environment() | (variables or {}), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read its messages up to the line with the text."""
    assert process.stderr is not None
    while text not in process.stderr.readline():
        assert process.poll() is None, f"the command ended before {text!r}"


def none_works_in(directory: Path) -> bool:
    """Whether every process that worked in the directory is gone, at the latest in ten seconds."""
    for _ in range(100):
        used = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                used.append(link.readlink() == directory)
            except OSError:  # ended meanwhile, or not ours
                continue
        if not any(used):
            return True
        time.sleep(0.1)
    return False
