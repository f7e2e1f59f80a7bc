from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from page_runs import EMOJI, HOSTILE, LONG, RIGHT_TO_LEFT, answers, fill, record, write_page
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from kdbench.commands.report import report_command
from kdbench.errors import UsageError
from kdbench.report.leaderboard import leaderboards
from kdbench.report.page import details, document
from kdbench.report.page.curves import POINTS, one_vs_rest, reliability
from kdbench.report.page.document import render_page
from kdbench.store import Store

ROOT = Path(__file__).parents[2]
BUILT = Path(document.__file__).parent


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def held(text: str, name: str):
    """The JSON of a data block."""
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S).group(1))


def unpacked(text: str):
    return json.loads(gzip.decompress(base64.b64decode(text)))


def page_of(records) -> str:
    return render_page(records, leaderboards(records), None)


def test_the_bundle_is_made_from_its_sources():
    source = ROOT / "page"
    names = [
        "build.mjs",
        "package-lock.json",
        "package.json",
        *sorted(f"src/{p.name}" for p in (source / "src").iterdir()),
    ]
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0".encode() + (source / name).read_bytes() + b"\0")
    for name in ("page.js", "page.css", "page.licences.txt"):
        digest.update((BUILT / name).read_bytes())
    assert digest.hexdigest() == (BUILT / "page.sha256").read_text().strip(), (
        "rebuild it: cd page && npm ci && npm run build"
    )


def test_no_registry_is_named_in_the_lock_file():
    assert "resolved" not in (ROOT / "page" / "package-lock.json").read_text()


def test_the_page_allows_itself_its_own_script_and_style_alone():
    text = page_of([record("kd", 0, "d", 0.9)])
    elements = Elements(text)
    policy = next(a["content"] for tag, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    run = [t for (tag, a), t in zip(elements.found, elements.texts, strict=True) if tag == "script" and "type" not in a]
    (script,) = run
    digest = base64.b64encode(hashlib.sha256(script.rstrip().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    fetching = [a for _, a in elements.found if {"src", "href", "srcset", "action"} & set(a)]
    assert fetching == []


@pytest.mark.parametrize("name", [HOSTILE, RIGHT_TO_LEFT, EMOJI, LONG, "\u2028<!--<script>"])
def test_no_name_adds_an_element_to_the_page(name):
    def elements(each: str) -> list[str]:
        records = [record(each, seed, each, 0.9, recipe=each, teacher=each, combo=each, error=each) for seed in (0, 1)]
        return [tag for tag, _ in Elements(page_of(records)).found]

    assert elements(name) == elements("plain")


def test_names_are_held_as_they_are():
    content = unpacked(held(page_of([record(HOSTILE, 0, RIGHT_TO_LEFT, 0.9)]), "overview"))
    assert content["rows"][0]["method"] == HOSTILE
    assert content["boards"][0]["dataset"] == RIGHT_TO_LEFT


def test_numbers_that_are_not_finite_are_held_as_none():
    content = unpacked(held(page_of([record("kd", 0, "d", float("nan")), record("kd", 1, "d", 0.5)]), "overview"))
    assert content["runs"]["metrics"]["accuracy"] == [None, 0.5]


def test_no_runs_make_a_page():
    assert unpacked(held(page_of([]), "overview"))["rows"] == []


def test_the_command_of_each_run_is_held(tmp_path):
    store = Store.open(tmp_path / "store")
    fill(store, datasets=1)
    path = write_page(tmp_path, store)
    runs = unpacked(held(path.read_text("utf-8"), "overview"))["runs"]
    commands = {}
    for place, run_id in enumerate(runs["id"]):
        parts = runs["commands"][runs["command"][place]]
        commands[run_id] = f"{parts[0]}{runs['seed'][place]}{parts[1]}" if len(parts) == 2 else parts[0]
    assert commands == {s.run_id: s.provenance.command for s in store.summaries()}
    assert len(runs["commands"]) < len(commands)


def test_details_of_a_run_hold_its_curves_and_its_answers_beside_the_baselines(tmp_path):
    store = Store.open(tmp_path / "store")
    fill(store, datasets=1)
    text = write_page(tmp_path, store).read_text("utf-8")
    content, chunks = unpacked(held(text, "overview")), held(text, "details")
    place = next(n for n, row in enumerate(content["rows"]) if row["method"] == "kd")
    found = unpacked(chunks[place])
    run_id = next(s.run_id for s in store.summaries() if s.method == "kd" and s.seed == 0)
    run = found[run_id]
    own, base = answers(0, 1.5), answers(0, 1.0)
    right = [each["probabilities"].argmax(1) == each["labels"] for each in (own, base)]
    assert run["versus"]["only_this"] == (right[0] & ~right[1]).sum()
    assert run["versus"]["only_baseline"] == (right[1] & ~right[0]).sum()
    assert run["items"] == 60
    assert run["accuracy_interval"][0] < right[0].mean() < run["accuracy_interval"][1]
    assert run["history"]["epoch"] == list(range(9))
    assert run["confusion"] == [[9, 1], [2, 8]]


def test_predictions_of_other_kinds_have_no_curves():
    run = record("kd", 0, "d", 0.9)
    tokens = {"predicted": np.arange(5), "label_probabilities": np.ones(5), "labels": np.arange(5)}
    assert "curves" not in details.run_details(run, tokens, {})
    assert "curves" not in details.run_details(run, {}, {})


def test_spans_have_an_interval_and_a_test_over_questions_and_no_curves():
    labels = np.array([[0, 2], [5, 5], [1, 4], [7, 8], [3, 3]])
    own, base = labels.copy(), labels.copy()
    own[0, 1] = 3  # the end alone is wrong
    base[1:4] += 1
    found = details.run_details(
        record("kd", 0, "d", 0.8), {"predicted": own, "labels": labels}, {"predicted": base, "labels": labels}
    )
    assert (found["items"], found["versus"]["only_this"], found["versus"]["only_baseline"]) == (5, 3, 1)
    assert found["versus"]["p_value"] == pytest.approx(2 * (1 + 4) / 2**4)
    assert found["accuracy_interval"][0] < 0.8 < found["accuracy_interval"][1]
    assert "curves" not in found
    alone = details.run_details(
        record("kd", 0, "d", 0.8), {"predicted": own, "labels": labels}, {"predicted": base, "labels": labels + 1}
    )
    assert "versus" not in alone


def test_labels_of_several_classes_at_once_have_a_curve_for_each():
    chance = np.random.default_rng(0)
    probabilities, labels = chance.random((50, 3)), chance.integers(0, 2, (50, 3))
    found = details.run_details(record("kd", 0, "d", 0.9), {"probabilities": probabilities, "labels": labels}, {})
    assert [curve["class"] for curve in found["curves"]] == [0, 1, 2]
    for curve in found["curves"]:
        expected = roc_auc_score(labels[:, curve["class"]], probabilities[:, curve["class"]])
        assert curve["auc"] == pytest.approx(expected, abs=1e-4)
    assert "reliability" not in found


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("items", [40, 3000])
def test_curves_are_those_of_scikit_learn(classes, items):
    chance = np.random.default_rng(classes)
    labels = np.arange(items) % classes
    logits = chance.normal(size=(items, classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).round(3)
    found = one_vs_rest(probabilities, labels)
    assert [curve["class"] for curve in found] == ([1] if classes == 2 else list(range(classes)))
    for curve in found:
        truth, scores = labels == curve["class"], probabilities[:, curve["class"]]
        assert curve["auc"] == pytest.approx(roc_auc_score(truth, scores), rel=1e-10)
        assert curve["ap"] == pytest.approx(average_precision_score(truth, scores), rel=1e-10)
        assert len(curve["fpr"]) == len(curve["tpr"]) <= POINTS
        assert auc(curve["fpr"], curve["tpr"]) == pytest.approx(curve["auc"], abs=0.003)
        points = set(
            zip(*(np.round(axis, 4) for axis in roc_curve(truth, scores, drop_intermediate=False)[:2]), strict=True)
        )
        assert set(zip(curve["fpr"], curve["tpr"], strict=True)) <= points


def test_reliability_adds_up_to_the_accuracy_and_the_calibration_error():
    kept = answers(0, 1.0)
    probabilities, labels = kept["probabilities"].astype(float), kept["labels"]
    found = reliability(probabilities, labels)
    items = np.array(found["items"])
    assert items.sum() == len(labels)
    accuracy = (probabilities.argmax(1) == labels).mean()
    assert items @ np.array(found["accuracy"]) / len(labels) == pytest.approx(accuracy, abs=1e-3)
    from kdbench.engine.metrics import score

    gaps = np.abs(np.array(found["accuracy"]) - np.array(found["confidence"]))
    assert items @ gaps / len(labels) == pytest.approx(score(probabilities, labels)["ece"], abs=1e-3)


def test_a_long_history_keeps_its_ends_and_is_thinned():
    rows = [{"epoch": float(n), "loss": 1.0 / (n + 1)} for n in range(500)]
    found = details.history(rows, 40)
    assert len(found["epoch"]) == 40
    assert (found["epoch"][0], found["epoch"][-1]) == (0.0, 499.0)


def test_many_runs_keep_the_details_of_their_first_seeds_within_the_budget(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    fill(store, datasets=2)
    monkeypatch.setattr(details, "WHOLE", 10)
    monkeypatch.setattr(details, "BUDGET", 4000)
    chunks = held(write_page(tmp_path, store).read_text("utf-8"), "details")
    assert 0 < sum(map(len, chunks)) <= 4000
    assert {len(unpacked(chunk)) for chunk in chunks if chunk} == {1}


def test_the_report_command_writes_the_page(kdbench, tmp_path):
    store = Store.open(tmp_path / "kdbench-results")
    fill(store, datasets=2)
    result = kdbench("report", "--format", "html", "--output", "board.html", "-k", "data1 and not fitnet")
    assert result.returncode == 0, result.stderr
    assert "written: board.html" in result.stderr
    rows = unpacked(held((tmp_path / "board.html").read_text("utf-8"), "overview"))["rows"]
    assert {row["method"] for row in rows} == {"scratch", "kd", "dkd"}
    assert {row["family"] for row in rows} == {"baseline", "logit"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expression": "nothing"}, "no run's combo matches"),
        ({"show": True}, "--open opens the page"),
        ({"timings": (Path("a.json"),)}, "--timings are shown on the page"),
        ({"output": Path("no/where.md")}, "cannot be written"),
    ],
)
def test_what_the_report_command_cannot_do_is_told(catalog, tmp_path, changes, told):
    fill(Store.open(tmp_path), datasets=1, seeds=1)
    options = {
        "directory": tmp_path, "form": "md", "metric": None, "expression": None, "output": None, "show": False,
        "timings": (),
    }  # fmt: skip
    with pytest.raises(UsageError, match=told):
        report_command(catalog, **options | changes, warn=print)
