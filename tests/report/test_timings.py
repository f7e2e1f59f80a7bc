"""Comparing files of pytest-benchmark: verdicts beyond the rounds' own spread, and files that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.errors import UsageError
from kdbench.report.timing_table import render_timings, seconds
from kdbench.report.timings import compare_timings, read_timings

ONE = {"fullname": "x", "stats": {"median": 1, "q1": 1, "q3": 1, "rounds": 1}}
BENCHMARK = "import time\n\ndef test_one(benchmark):\n    benchmark(lambda: sum(range(100)))\n"


def file_of(path: Path, **stats: tuple[float, float, float]) -> Path:
    benchmarks = [
        {"fullname": name, "group": None, "stats": {"q1": q1, "median": median, "q3": q3, "rounds": 9, "mean": median}}
        for name, (q1, median, q3) in stats.items()
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks, "machine_info": {"node": path.stem, "cpu": {}}}))
    return path


def compared(tmp_path: Path, a: dict, b: dict):
    return compare_timings(*(read_timings(file_of(tmp_path / f"{n}.json", **s)) for n, s in (("a", a), ("b", b))))


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ((1.0, 1.1, 1.2), "unchanged"),
        ((1.25, 1.3, 1.4), "slower"),
        ((1.15, 1.3, 1.4), "unchanged"),  # the middle halves overlap
        ((0.7, 0.8, 0.9), "faster"),
        ((0.7, 0.8, 1.05), "unchanged"),
    ],
)
def test_a_change_is_one_beyond_the_spread_of_the_rounds(tmp_path, new, verdict):
    (change,) = compared(tmp_path, {"x": (1.0, 1.1, 1.2)}, {"x": new}).changes
    assert change.verdict == verdict
    assert change.ratio == pytest.approx(new[1] / 1.1)


def test_less_than_five_per_cent_is_no_change_however_narrow_the_spread(tmp_path):
    found = compared(tmp_path, {"x": (1.0, 1.0, 1.0), "y": (1.0, 1.0, 1.0)}, {"x": (1.04,) * 3, "y": (1.06,) * 3})
    assert [change.verdict for change in found.changes] == ["unchanged", "slower"]
    assert found.regressed


def test_new_and_gone_benchmarks_and_other_machines_are_told(tmp_path):
    found = compared(tmp_path, {"x": (1, 1, 1), "old": (2, 2, 2)}, {"x": (1, 1, 1), "young": (3e-6, 3e-6, 3e-6)})
    assert {c.name: (c.verdict, c.a, c.b) for c in found.changes} == {
        "x": ("unchanged", 1, 1), "old": ("gone", 2, None), "young": ("new", None, 3e-6)
    }  # fmt: skip
    assert found.provenance == {"node": ("a", "b")}
    assert not found.regressed
    text = render_timings(found, width=90)
    assert "node: A a, B b" in text
    assert "3.0 µs" in text
    assert max(map(len, text.splitlines())) <= 90


box = st.lists(st.floats(1e-9, 10), min_size=3, max_size=3).map(sorted)


@given(box, box)
def test_swapping_the_files_turns_every_verdict_round(tmp_path_factory, first, second):
    directory = tmp_path_factory.mktemp("swap")
    forth, back = (
        compared(directory, {"x": one}, {"x": other}).changes[0].verdict
        for one, other in ((first, second), (second, first))
    )
    assert back == {"faster": "slower", "slower": "faster"}.get(forth, forth)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "holds no timings"),
        ("[]", "holds no timings"),
        ('{"benchmarks": [{"fullname": "x", "stats": {"median": "fast"}}]}', r"Expected `float`.*stats.median"),
        ('{"benchmarks": [{"fullname": "x", "stats": {"median": 1, "q1": 2, "q3": 3, "rounds": 1}}]}', "not in order"),
        (json.dumps({"benchmarks": [ONE, ONE]}), "has the benchmark 'x' twice"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as error:
        read_timings(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (2.5, "2.5 s"), (0.0372, "37.2 ms"), (4e-10, "0.4 ns")])
def test_times_are_shown_in_the_unit_that_reads_best(value, text):
    assert seconds(value) == text


def test_the_command_compares_what_pytest_benchmark_writes(tmp_path):
    (tmp_path / "test_it.py").write_text(BENCHMARK)
    pytest_line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-json=a.json",
                   "--benchmark-max-time=0.01"]  # fmt: skip
    # pytest-benchmark writes nothing where it takes itself for a worker of pytest-xdist
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(pytest_line, cwd=tmp_path, env=variables, check=True, capture_output=True)
    content = json.loads((tmp_path / "a.json").read_bytes())
    for key in ("median", "q1", "q3"):
        content["benchmarks"][0]["stats"][key] *= 3
    (tmp_path / "b.json").write_text(json.dumps(content))

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "kdbench", "compare", *arguments]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    worse = command("a.json", "b.json", "--fail-on-regression")
    assert (worse.returncode, "3.00x" in worse.stdout) == (1, True), worse.stderr
    assert json.loads(command("a.json", "b.json", "--json").stdout)["changes"][0]["verdict"] == "slower"
    assert command("b.json", "a.json", "--fail-on-regression").returncode == 0
    for wrong in (("a.json", "."), ("a.json", "b.json", "--metric", "f1"), ("a.json", "none.json")):
        refused = command(*wrong)
        assert (refused.returncode, refused.stdout) == (2, ""), wrong
