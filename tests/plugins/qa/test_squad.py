"""SQuAD's format: what is read, what is refused, the scores of texts, and a reader that learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.datasets import prepare
from kdbench.engine.run import train_and_measure
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection
from kdbench.testing import check_model
from kdbench_qa.answers import exact_match, f1, normalised, squad_em, squad_f1
from kdbench_qa.readers import reader_s
from kdbench_qa.squad import examples_of, read_file, squad, squad_files

NAMES = ("Ada", "Grace", "Alan", "Emmy", "Kurt", "Sofia")
PLACES = ("London", "New York", "Manchester", "Erlangen", "Brno", "Moscow")


def question(name: str, asked: str, context: str, *answers: str) -> dict[str, Any]:
    return {
        "id": name, "question": asked,
        "answers": [{"text": answer, "answer_start": context.index(answer)} for answer in answers],
    }  # fmt: skip


def articles(first: int, last: int) -> list[dict[str, Any]]:
    made = []
    for number in range(first, last):
        one, other = NAMES[number % 6], NAMES[(number + 1 + number // 6) % 6]
        here, there = PLACES[number % 6], PLACES[(number + 2 + number // 6) % 6]
        context = f"In {1900 + number} {one} lived in {here}. Then {other}'s home was {there}, they say."
        questions = [
            question(f"{number}-a", f"Where did {one} live in {1900 + number}?", context, here),
            question(f"{number}-b", f"Where was the home of {other}?", context, there, f"{there}, they say"),
        ]
        made.append({"title": f"Article {number}", "paragraphs": [{"context": context, "qas": questions}]})
    return made


def write(path, content: list[dict[str, Any]]) -> str:
    path.write_text(json.dumps({"version": "1.1", "data": content}), encoding="utf-8")
    return str(path)


@pytest.fixture
def file(tmp_path) -> str:
    return write(tmp_path / "small.json", articles(0, 40))


def test_answers_are_the_tokens_that_cover_them(tmp_path):
    context = "It's the 1990s (late) of “Mötley  Crüe”."
    given = [question("q1", "When?", context, "1990s"), question("q2", "Part?", context, "990"),
             question("q3", "Who?", context, "Mötley  Crüe"), question("q4", "How?", context, "(late)")]  # fmt: skip
    examples = read_file(tmp_path / write(tmp_path / "f.json", [{"paragraphs": [{"context": context, "qas": given}]}]))
    words = [context[start:end] for start, end in examples[0].spans]
    assert words == ["It", "'", "s", "the", "1990s", "(", "late", ")", "of", "“", "Mötley", "Crüe", "”", "."]
    assert [(e.first, e.last) for e in examples] == [(4, 4), (4, 4), (10, 11), (5, 7)]


def test_rows_are_question_and_text_and_articles_do_not_cross_splits(file):
    data = squad(f"{file}?length=24")
    assert data.views()["words"].shape == (80, 32 + 24)
    assert len(data.classes) == 24
    dataset = prepare("squad", data, fold=None, folds=None)
    parts = (dataset.train, dataset.validation, dataset.test)
    groups = [set(data.groups[part.index.numpy()].tolist()) for part in parts]
    assert len(groups[0] | groups[1] | groups[2]) == sum(map(len, groups)) == 40
    assert all(groups)


def test_of_a_directory_the_dev_file_is_the_test_split(tmp_path):
    write(tmp_path / "train-v1.1.json", articles(0, 20))
    with pytest.raises(kdbench.InvalidData, match=r"dev\*\.json are needed"):
        squad(str(tmp_path))
    write(tmp_path / "dev-v1.1.json", articles(20, 30))
    dataset = prepare("squad", squad(f"{tmp_path}?length=24"), fold=None, folds=None)
    assert sorted(dataset.test.index.tolist()) == list(range(40, 60))


def test_the_hubs_name_is_looked_for_on_this_machine_and_told_where_to_put(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kdbench.DataNotAvailable, match=r"\$KDBENCH_DATA/squad"):
        squad_files()
    (tmp_path / "squad").mkdir()
    write(tmp_path / "squad" / "train-v1.1.json", articles(0, 6))
    write(tmp_path / "squad" / "dev-v1.1.json", articles(6, 9))
    assert len(squad_files().labels) == 18


def test_a_long_text_is_refused_by_its_question_or_left_out_in_every_split(file):
    with pytest.raises(kdbench.InvalidData, match=r"text of question '\d+-a' has \d+ tokens[\s\S]*long=drop"):
        squad(f"{file}?length=18&long=refuse")
    kept = examples_of(f"{file}?length=18&long=drop")[0]
    assert 0 < len(kept) < 80
    assert all(len(example.spans) <= 18 for example in kept)
    with pytest.raises(kdbench.InvalidData, match="no question"):
        squad(f"{file}?length=3&long=drop")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [{"text": "Paris", "answer_start": 3}]}, r"question '0-a' is not where.*\n  'Paris' at 3"),
        ({"answers": [{"text": "In", "answer_start": -1}]}, "question '0-a' is not where"),
        ({"answers": [{"text": " ", "answer_start": 2}]}, "question '0-a' is not where"),
        ({"answers": []}, "question '0-a' has no answer"),
        ({"answers": None}, "question '0-a' has no answer"),
        ({"id": ["no"], "answers": [{"text": "In"}]}, r"is not of SQuAD's form\n  KeyError: 'answer_start'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_file_and_question(tmp_path, change, message):
    content = articles(0, 2)
    content[0]["paragraphs"][0]["qas"][0] |= change
    with pytest.raises(kdbench.InvalidData, match=message):
        squad(write(tmp_path / "bad.json", content))


def test_questions_of_version_2_without_an_answer_are_left_out_where_that_is_asked_for(tmp_path):
    content = articles(0, 6)
    for article in content[:2]:
        article["paragraphs"][0]["qas"][1] |= {"is_impossible": True, "answers": [], "plausible_answers": []}
    path = write(tmp_path / "v2.json", content)
    with pytest.raises(kdbench.InvalidData, match=r"question '0-b' has no answer[\s\S]*unanswerable=drop leaves"):
        squad(f"{path}?length=24")
    kept = examples_of(f"{path}?length=24&unanswerable=drop")[0]
    assert [example.name for example in kept] == ["0-a", "1-a", *(f"{n}-{q}" for n in range(2, 6) for q in "ab")]
    assert len(squad(f"{path}?length=24&unanswerable=drop").labels) == len(kept)
    with pytest.raises(kdbench.InvalidParameter, match="unanswerable=maybe is none of refuse, drop"):
        squad(f"{path}?unanswerable=maybe")


def test_a_file_is_read_once_and_again_when_it_has_changed(file, monkeypatch):
    parsed = []
    monkeypatch.setattr("kdbench_qa.squad.json.loads", lambda text: parsed.append(text) or json.JSONDecoder().decode(
        text.decode()))  # fmt: skip
    first, again = examples_of(file)[0], examples_of(f"{file}?length=100")[0]
    assert first == again
    assert len(parsed) == 1
    assert first[0].spans is first[1].spans, "questions of one text share its tokens"
    write(Path(file), articles(0, 41))
    assert len(examples_of(file)[0]) == len(first) + 2
    assert len(parsed) == 2


def test_files_and_options_that_cannot_be_read_are_refused(tmp_path, file):
    (tmp_path / "cut.json").write_text('{"data": [')
    with pytest.raises(kdbench.InvalidData, match=r"cut\.json is not JSON"):
        squad(str(tmp_path / "cut.json"))
    with pytest.raises(kdbench.DataNotAvailable, match="nowhere"):
        squad("nowhere.json")
    for text in ("length=0", "length=many", "long=cut", "wide=3"):
        with pytest.raises(kdbench.InvalidParameter):
            squad(f"{file}?{text}")


@pytest.mark.parametrize(
    ("said", "accepted", "exact", "overlap"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("an apple a day", ["apple day"], 1, 1),
        ("Eiffel", ["the Eiffel Tower"], 0, 2 / 3),
        ("in Paris, France", ["Paris", "Lyon"], 0, 1 / 2),
        ("to be or not to be", ["to be"], 0, 2 * 2 / (6 + 2)),
        ("be be", ["be"], 0, 2 / 3),
        ("1,000", ["1000"], 1, 1),
        ("Berlin", ["Paris"], 0, 0),
        ("the", ["a"], 1, 0),
        ("half-life", ["halflife", "other"], 1, 1),
    ],
)
def test_exact_match_and_f1_are_as_worked_by_hand(said, accepted, exact, overlap):
    assert exact_match(said, accepted) == exact
    assert f1(said, accepted) == pytest.approx(overlap)


def test_articles_go_after_punctuation_and_only_as_words():
    assert normalised("  The cat,\n a hat & another: (an) anthem. ") == "cat hat another anthem"


class Pointing(nn.Module):
    """Points at the same places of every text."""

    def forward(self, x):
        logits = torch.zeros(len(x), 2, 24)
        logits[:, 0, 5] = logits[:, 1, 5] = 9.0
        return logits


def test_scores_are_of_the_text_that_is_pointed_at(file):
    argument = f"{file}?length=24"
    test = prepare("squad", squad(argument), fold=None, folds=None).test
    info = DatasetInfo(f"squad:{argument}", "span-qa", 24, (56,), 9)
    examples = [examples_of(argument)[0][place] for place in test.index.tolist()]
    said = [example.context[slice(*example.spans[5])] for example in examples]
    for metric, score in ((squad_em, exact_match), (squad_f1, f1)):
        expected = np.mean([score(text, example.answers) for text, example in zip(said, examples, strict=True)])
        found = metric()(Pointing(), test.inputs["words"], test.labels, info=info, index=test.index, shared={})
        assert found == pytest.approx(expected)
    assert 0 < squad_em()(Pointing(), test.inputs["words"], test.labels, info=info, index=test.index, shared={}) < 1


def test_readers_fit_their_task_and_give_padding_no_weight():
    info = DatasetInfo("text", "span-qa", 7, (12,), 10)
    x = torch.tensor([[5, 6, 0, 0, 0, 3, 4, 5, 0, 0, 0, 0], [5, 0, 0, 0, 0, 3, 4, 5, 6, 7, 8, 9]]).float()
    logits = reader_s(info).eval()(x)
    assert logits.shape == (2, 2, 7)
    assert logits.softmax(-1)[0, :, 3:].eq(0).all()
    check_model(reader_s, info)
    with pytest.raises(ValueError, match="points at spans"):
        reader_s(DatasetInfo("text", "multiclass", 7, (12,), 10))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[RunContext, str]:
    """Where the teacher of a file is trained once."""
    directory = tmp_path_factory.mktemp("squad")
    context = RunContext(load_plugins().catalog, directory / "results", plugins={}, workers=1)
    return context, write(directory / "small.json", articles(0, 80))


@pytest.mark.parametrize("method", ["scratch", "kd", "word_kd"])
def test_a_reader_learns_and_is_scored_by_its_texts_teacher_and_student_alike(trained, method):
    context, file = trained
    selection = Selection(dataset=(f"squad:{file}?length=24",), teacher=("reader-s",), student=("reader-s",),
                          method=(method,), recipe=("spans",))  # fmt: skip
    settings = [f"{scope}.{setting}" for scope in ("recipe", "teacher_recipe")
                for setting in ("epochs=5", "batch_size=16", "lr=0.01")]  # fmt: skip
    (run,) = make_plan(context.catalog, selection, settings, Repeats(seeds=(0,))).runs
    record, kept = train_and_measure(run, context, EpochListener())
    for metrics in (record.metrics, record.teacher_metrics):
        assert metrics["squad_em"] >= metrics["accuracy"]
        assert metrics["squad_f1"] >= metrics["squad_em"] > 0.1  # a guess among 136 spans would be right in .007
    assert kept["predicted"].shape == kept["labels"].shape
