"""A build carried out by ninja in a directory of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.cores import usable_cores
from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build.targets import Build
from kdbench.kernel_build.toolchain import find_ninja

TIME_LIMIT = {"cpu": 900.0, "cuda": 3600.0}
"""Seconds after which a build is taken to hang."""

_STATUS = "[%f/%t] %es "
_STATUS_LINE = re.compile(r"\[\d+/\d+\] ")


@dataclass(frozen=True)
class Outcome:
    """What ninja made: seconds by file, the files that failed with what was said of each, and all that was said."""

    seconds: dict[str, float]
    failures: dict[str, str]
    output: str


def run_ninja(build: Build, directory: Path, on_line: Callable[[str], None]) -> Outcome:
    """Make every library of the build that can be made; `on_line` hears of each step that ends.

    Raises: KernelsNotBuilt where ninja is missing, or is stopped at its time limit.
    """
    (directory / "build.ninja").write_text(ninja_file(build), encoding="utf-8")
    command = [str(find_ninja()), "-k", "0", "-j", str(usable_cores())]
    environment = {**os.environ, "NINJA_STATUS": _STATUS, "LC_ALL": "C"}
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=directory, env=environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        limit = TIME_LIMIT[build.kind]
        deadline = time.monotonic() + limit
        watchdog = threading.Timer(limit, process.terminate)  # ninja then ends its compilers
        watchdog.daemon = True
        watchdog.start()
        try:
            for line in process.stdout or ():
                said.append(line)
                if _STATUS_LINE.match(line):
                    on_line(line.rstrip())
        except BaseException:
            process.terminate()
            raise
        finally:
            watchdog.cancel()
    if time.monotonic() >= deadline:
        raise KernelsNotBuilt(f"compiling the {build.kind} kernels took more than {limit:.0f} s and was stopped")
    return Outcome(_seconds(directory / ".ninja_log"), _failures(said), "".join(said))


def ninja_file(build: Build) -> str:
    """The build in ninja's language."""
    lines = ["rule run", "  command = $line", "  description = $title", ""]

    def step(file: str, inputs: Sequence[str], title: str, command: Sequence[str]) -> None:
        lines.append(f"build {_path(file)}: run {' '.join(map(_path, inputs))}")
        lines.append(f"  line = {_value(shlex.join([*command, '-o', file]))}")
        lines.append(f"  title = {_value(title)}")

    for one in build.objects:
        step(one.file, [str(one.source)], one.title, [*one.command, "-c", str(one.source)])
    for library in build.libraries:
        inputs = [*library.objects, *library.needs]
        step(library.file, inputs, library.file, [*library.command, *inputs, *library.options])
    return "\n".join(lines) + "\n"


def first_errors(output: str, limit: int = 3) -> str:
    """The lines of a compiler's output that a person looks for."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\berror\b|undefined reference|fatal|not found", line, re.I)]
    chosen = [line for line in telling if not line.startswith("collect2")][:limit] or lines[-limit:]
    return "\n".join(line[:300] for line in chosen)


def _failures(said: Sequence[str]) -> dict[str, str]:
    """What was said of each file that failed, without the command line that ninja repeats first."""
    failures: dict[str, str] = {}
    current: str | None = None
    command_next = False
    for line in said:
        failed = re.match(r"FAILED: (?:\[code=\d+\] )?(\S+)", line)
        if failed:
            current, command_next = failed[1], True
            failures[current] = ""
        elif _STATUS_LINE.match(line) or line.startswith("ninja: "):
            current = None
        elif command_next:
            command_next = False
        elif current is not None:
            failures[current] += line
    return failures


def _seconds(log: Path) -> dict[str, float]:
    """Seconds by output, from ninja's own log: start, end (ms), restat time, output, hash."""
    if not log.is_file():
        return {}
    rows = (line.split("\t") for line in log.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {row[3]: (int(row[1]) - int(row[0])) / 1000 for row in rows if len(row) == 5}


def _path(text: str) -> str:
    return text.replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _value(text: str) -> str:
    return text.replace("$", "$$")
