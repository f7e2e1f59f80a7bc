"""What the page holds of files of pytest-benchmark."""

from __future__ import annotations

import pytest
from page_runs import fill
from timing_files import write_timings

from kdbench.errors import UsageError
from kdbench.report.page.timing_view import read_timing_files, timing_view
from kdbench.report.timings import compare_timings, read_timings
from kdbench.store import Store

BEFORE = {"k.py::one[a]": (1e-5, 1.1e-5, 1.2e-5), "k.py::two": (3e-3, 3.1e-3, 3.3e-3), "k.py::old": (1.0, 1.0, 1.0)}
AFTER = {"k.py::one[a]": (2e-5, 2.2e-5, 2.4e-5), "k.py::two": (3e-3, 3.1e-3, 3.3e-3), "k.py::new": (2.0, 2.0, 2.0)}


def test_one_file_has_its_figures_and_no_verdict(tmp_path):
    path = write_timings(tmp_path / "a.json", BEFORE, {"k.py::two": "128x10"})
    view = timing_view(read_timing_files([path]))
    assert [(each["name"], each["group"]) for each in view["benchmarks"]] == [
        ("k.py::one[a]", ""), ("k.py::two", "128x10"), ("k.py::old", "")
    ]  # fmt: skip
    assert view["benchmarks"][0]["stats"] == [{"median": 1.1e-5, "q1": 1e-5, "q3": 1.2e-5, "rounds": 9}]
    assert {(each["verdict"], each["ratio"]) for each in view["benchmarks"]} == {(None, None)}
    (file,) = view["files"]
    assert (file["name"], file["measured"]) == (str(path), "2026-02-03T04:05:06+00:00")
    assert file["conditions"] == {"commit": "commit of a", "cpu": "A CPU", "node": "a"}


def test_two_files_have_the_verdicts_and_ratios_that_compare_gives(tmp_path):
    paths = [write_timings(tmp_path / f"{name}.json", stats) for name, stats in (("a", BEFORE), ("b", AFTER))]
    view = timing_view(read_timing_files(paths))
    expected = compare_timings(*map(read_timings, paths))
    shown = {each["name"]: (each["verdict"], each["ratio"]) for each in view["benchmarks"]}
    assert shown == {change.name: (change.verdict, change.ratio) for change in expected.changes}
    assert set(dict(shown.values())) == {"slower", "unchanged", "gone", "new"}
    sides = {each["name"]: [stats and stats["median"] for stats in each["stats"]] for each in view["benchmarks"]}
    assert sides["k.py::old"] == [1.0, None]
    assert sides["k.py::new"] == [None, 2.0]
    assert view["differing"] == {"commit": ("commit of a", "commit of b"), "node": ("a", "b")}


def test_no_file_has_no_view():
    assert timing_view([]) is None


def test_more_than_two_files_are_refused(tmp_path):
    paths = [write_timings(tmp_path / f"{name}.json", BEFORE) for name in "abc"]
    with pytest.raises(UsageError, match="one file, or two to compare"):
        read_timing_files(paths)


@pytest.mark.parametrize("watch", [(), ("--watch",)])
def test_a_file_that_is_none_is_the_same_error_as_of_compare(kdbench, tmp_path, watch):
    fill(Store.open(tmp_path / "kdbench-results"), datasets=1, seeds=1)
    (tmp_path / "wrong.json").write_text("[]")
    write_timings(tmp_path / "right.json", BEFORE)
    compared = kdbench("compare", "right.json", "wrong.json")
    shown = kdbench("report", "--format", "html", "--timings", "right.json", "--timings", "wrong.json", *watch)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "wrong.json holds no timings of pytest-benchmark" in shown.stderr
    assert shown.stderr == compared.stderr
    assert not (tmp_path / "kdbench-results" / "report.html").exists()
