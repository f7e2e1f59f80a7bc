from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import a_run
from rich.cells import cell_len

from kdbench.catalog import Catalog
from kdbench.errors import PluginError, UnknownName
from kdbench.plan import NotRun
from kdbench.records import Provenance, Throughput
from kdbench.report.cells import count, one_line
from kdbench.report.export import BOARD_COLUMNS, ROW_COLUMNS
from kdbench.report.formats import FORMATS, check_format, render
from kdbench.report.latex import escape as escape_latex
from kdbench.report.leaderboard import leaderboards
from kdbench.report.markdown import escape
from kdbench.report.parquet import render_parquet

MISSING = NotRun("digits/timm:x->small/kd", "timm is not installed", "pip install 'kdbench[timm]'")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "=cmd|' /C calc'!A0 [red]x[/red] \x1b[31m <b>*_`~\\ \nnext & line"


@pytest.fixture
def boards(runs):
    return leaderboards(
        runs("scratch", [0.80, 0.82, 0.81, 0.83])
        + runs("kd", [0.85, 0.86, 0.84, 0.88], overrides={"temperature": 2.0})
        + runs("dkd", [0.81, None, 0.80, 0.85])
        + runs("fitnet", [None, None])
    )


def table_of(markdown: str) -> dict[str, list[str]]:
    """The cells of each row of a Markdown table, by its first cell."""
    lines = [line.strip("|") for line in markdown.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_markdown_is_a_titled_table_with_supported_improvements_bold(boards):
    text = render(boards, "md")
    assert text.splitlines()[0] == "### digits: big → small"
    assert "Teacher accuracy 98" in text.splitlines()[2]
    assert "4 seeds" in text.splitlines()[2]
    table = table_of(text)
    assert table["method"][2] == "Δ vs scratch (95% CI)"
    assert table["**kd(temperature=2)**"][0] == "**85.75 ± 2.72**"
    assert table["**kd(temperature=2)**"][1:4] == ["4", "**+4.25 [+2.73, +5.77]**", "26%"]
    assert table["dkd"][:2] == ["82.00 ± 6.57", "3/4"]
    assert table["fitnet"][:3] == ["failed (2)", "0/2", "–"]
    assert len({len(row) for row in table.values()}) == 1


def test_every_text_explains_its_signs(boards):
    for form in ("md", "table"):
        text = " ".join(render(boards, form, width=200).split())
        assert "mean ± half-width of the 95% t interval over n runs, higher is better" in text
        assert "Δ: mean difference from scratch at the same seeds" in text
        assert "gap recovered: Δ as a share of teacher − baseline" in text


def test_errors_are_told_once_beneath_the_board(boards):
    for form in ("md", "table"):
        text = render(boards, form, width=200)
        assert text.count("ValueError: no") == 1
        assert "failed (1) of dkd, failed (2) of fitnet: ValueError: no" in text


def test_what_did_not_run_is_told_with_the_way_to_get_it(boards):
    for form in ("md", "table"):
        line = "not run: digits/timm:x->small/kd: timm is not installed; get it with: pip install 'kdbench[timm]'"
        assert line in render(boards, form, width=200, not_run=[MISSING])
        assert line in render([], form, width=200, not_run=[MISSING])
        refused = NotRun("digits/big->small/gkd", "it serves other tasks", "drop it with -k 'not gkd'", refused=True)
        line = "not run: digits/big->small/gkd: it serves other tasks; drop it with -k 'not gkd'"
        assert line in render([], form, width=200, not_run=[refused])
    assert json.loads(render([], "json", not_run=[MISSING]))["not_run"][0]["fix"] == MISSING.fix


def test_a_table_without_colour_is_plain_and_marks_improvements_with_an_asterisk(boards):
    text = render(boards, "table", width=120)
    assert "\x1b" not in text
    assert re.search(r"kd\(temperature=2\) +85\.75 ± 2\.72 +4 +\+4\.25 \[\+2\.73, \+5\.77\]\*", text)
    assert re.search(r"dkd .*\]  ", text)


def test_a_table_in_colour_says_the_same(boards):
    coloured = render(boards, "table", width=120, color=True)
    assert "\x1b[1;32m" in coloured
    plain = "\n".join(line.rstrip() for line in ANSI.sub("", coloured).splitlines())
    assert plain.strip() == render(boards, "table", width=120).strip()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(boards, width):
    text = render(boards, "table", width=width, not_run=[MISSING])
    assert max(map(cell_len, text.splitlines())) <= width
    assert "85.75 ± 2.72" in text


def test_columns_go_by_importance_where_the_terminal_is_narrow(boards):
    narrow, wide = (
        next(line for line in render(boards, "table", width=width).splitlines() if line.startswith("method"))
        for width in (80, 200)
    )
    assert "Δ vs scratch" in narrow
    assert "latency" not in narrow
    assert "infer samples/s" in wide


def test_the_width_is_that_of_the_terminal_by_default(boards, monkeypatch):
    monkeypatch.setenv("COLUMNS", "64")
    assert max(map(cell_len, render(boards).splitlines())) <= 64


def test_the_legend_of_many_boards_is_shown_once():
    boards = leaderboards([a_run(dataset=name) for name in "abc"])
    assert render(boards, "table", width=200).count("mean ± half-width") == 1


def test_csv_has_one_line_per_row_with_documented_columns_and_plain_numbers(boards):
    rows = list(csv.DictReader(io.StringIO(render(boards, "csv"))))
    assert list(rows[0]) == [*BOARD_COLUMNS, *ROW_COLUMNS, "metric_accuracy"]
    best = boards[0].rows[0]
    assert rows[0]["label"] == "kd(temperature=2)"
    assert float(rows[0]["mean"]) == best.mean
    assert float(rows[0]["difference"]) == best.difference
    assert (rows[0]["better"], rows[0]["n"], rows[0]["overrides"]) == ("true", "4", '{"temperature":2.0}')
    assert (rows[-1]["mean"], rows[-1]["failed"], rows[-1]["error"]) == ("", "2", "ValueError: no")


def test_csv_keeps_a_negative_number_a_number(runs):
    boards = leaderboards(runs("scratch", [0.9, 0.8]) + runs("kd", [0.8, 0.5]))
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(render(boards, "csv")))}
    assert float(rows["kd"]["difference"]) == pytest.approx(-0.2)


@pytest.mark.parametrize("start", "=+-@\t\r")
def test_csv_never_begins_a_text_as_a_formula(start):
    name = f"{start}1+2"
    rows = list(csv.reader(io.StringIO(render(leaderboards([a_run(method=name, dataset=name)]), "csv"))))
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[1])


def test_json_has_every_field_of_the_boards(boards):
    content = json.loads(render(boards, "json"))
    assert content["schema"] == 1
    (board,) = content["leaderboards"]
    assert (board["dataset"], board["metric"], board["higher_is_better"]) == ("digits", "accuracy", True)
    assert board["rows"][0]["mean"] == boards[0].rows[0].mean
    assert board["rows"][0]["better"] is True
    assert board["notes"] == boards[0].notes


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text_stays_text(form):
    fails = a_run("kd", 1, None, error=HOSTILE)
    record = a_run(HOSTILE, dataset=HOSTILE, teacher=HOSTILE, recipe=HOSTILE, provenance=Provenance(device=HOSTILE))
    missing = [NotRun(HOSTILE, HOSTILE, HOSTILE)]
    text = render(leaderboards([record, fails]), form, width=150, not_run=missing, summaries=[record, fails])
    assert "\x1b" not in text
    if form == "md":
        assert "<b>" not in text
        assert len({len(row) for row in table_of(text).values()}) <= 2
    if form == "table":
        assert "[red]" in text


@given(st.text(max_size=30))
def test_text_on_one_line_can_be_printed(text):
    assert one_line(text).isprintable()


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_escaped_text_makes_neither_cells_nor_tags(text):
    escaped = escape(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", escaped)
    assert "<" not in escaped


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (8970, "8,970"), (9999.4, "9,999"), (9999.5, "10k"), (123_456, "123k"), (999_499, "999k"),
     (999_500, "1M"), (1_234_567, "1.23M"), (12_345_678, "12.3M"), (3_300_000_000, "3,300M")],
)  # fmt: skip
def test_counts_are_short(number, text):
    assert count(number) == text


def test_columns_that_say_nothing_are_left_out():
    boards = leaderboards([a_run("kd", throughput=Throughput())])
    head = render(boards, "table", width=300).splitlines()[2]
    assert head.split() == ["method", "accuracy", "%", "n", "train", "s", "rank"]


def test_no_runs_is_said_so():
    assert render([], "table") == "no runs\n"
    assert render([], "md") == "No runs.\n"
    assert render([], "csv").count("\n") == 1
    assert json.loads(render([], "json"))["leaderboards"] == []


def test_a_plugins_format_is_used_by_its_name(boards):
    catalog = Catalog()
    catalog.add("report_format", "titles", lambda found: ", ".join(board.title for board in found), "mine", {})
    assert render(boards, "titles", catalog=catalog) == "digits: big → small\n"


@pytest.mark.parametrize(
    ("target", "why"), [(lambda boards: boards[99], "IndexError"), (lambda boards: None, "returned a NoneType")]
)
def test_a_plugins_format_that_fails_is_named_with_its_plugin(boards, target, why):
    catalog = Catalog()
    catalog.add("report_format", "broken", target, "mine", {})
    with pytest.raises(PluginError, match="'broken' of plugin 'mine'") as caught:
        render(boards, "broken", catalog=catalog)
    assert why in str(caught.value)


def test_an_unknown_format_is_refused_with_a_suggestion(boards):
    catalog = Catalog()
    catalog.add("report_format", "slides", str, "mine", {})
    for refused in (lambda: render(boards, "slids", catalog=catalog), lambda: check_format("slydes", catalog)):
        with pytest.raises(UnknownName, match="did you mean 'slides'") as caught:
            refused()
        assert "known: table, md, csv, json, latex, html, slides" in caught.value.fix
    check_format("md", None)
    check_format("slides", catalog)


def test_metrics_of_plugins_have_a_column_where_a_run_has_them(runs):
    plain, measured = (runs(name, [0.5, 0.6]) for name in ("scratch", "kd"))
    for number, record in enumerate(measured):
        record.metrics["robust_accuracy:0.1"] = 0.25 + number / 2
    table = table_of(render(leaderboards(plain + measured), "md"))
    place = table["method"].index("robust_accuracy:0.1")
    assert (table["scratch"][place], table["kd"][place]) == ("–", "0.5000")
    assert "robust_accuracy:0.1" not in table_of(render(leaderboards(plain), "md"))["method"]


def test_latex_is_a_table_with_every_special_sign_escaped(boards, runs):
    boards += leaderboards(runs("kd", [0.9, 0.8], dataset=HOSTILE, student="a_b & {c} $x$ 50% #1 ~^"))
    text = render(boards, "latex")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(boards)
    shown = [line for line in text.splitlines() if not line.startswith("%")]
    rows = [line for line in shown if line.endswith(r" \\")]
    for row in (row for board in boards for row in board.rows):
        label = escape_latex(row.label)
        assert any(line.startswith((label, rf"\textbf{{{label}}}")) for line in rows)
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows[: len(boards[0].rows) + 1]}) == 1
    assert r"\textbf{85.75 $\pm$ 2.72}" in text
    assert r"a\_b \& \{c\} \$x\$ 50\% \#1 \textasciitilde{}\textasciicircum{}" in text
    # Whatever is left of a name after its escapes is no command and ends no line.
    assert all("\x1b" not in line for line in shown)
    assert render([], "latex") == "% No runs.\n"


def test_parquet_has_the_lines_of_the_csv_with_their_types(boards):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.read_parquet(io.BytesIO(render_parquet(boards)))
    lines = list(csv.DictReader(io.StringIO(render(boards, "csv"))))
    assert list(frame.columns) == list(lines[0])
    assert len(frame) == len(lines)
    for place, line in enumerate(lines):
        for name, cell in line.items():
            value = frame[name].iloc[place]
            if cell == "":
                assert pd.isna(value) or value == "", name
            elif cell in {"true", "false"}:
                assert bool(value) == (cell == "true")
            elif isinstance(value, str):
                assert cell == value, name
            else:
                assert float(cell) == pytest.approx(float(value)), name
    assert frame["better"].dtype == "boolean"
    assert frame["n"].dtype == "Int64"


@pytest.mark.parametrize("width", [45, 80, 200])
def test_a_table_without_colours_is_the_coloured_one_without_its_colours(boards, runs, width):
    boards += leaderboards(runs("日本語 \u200f\u05e2\u05d1\u05e8" * 3, [0.9, 0.8]) + runs("scratch", [0.7, 0.6]))
    plain, coloured = (render(boards, "table", width=width, color=color) for color in (False, True))
    assert plain.splitlines() == [ANSI.sub("", line).rstrip() for line in coloured.splitlines()]
