"""Long texts of SQuAD's form in overlapping windows: what is read, what is scored, and that what is far in is found."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import kdbench
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.datasets import prepare
from kdbench.engine.run import train_and_measure
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection
from kdbench_qa.answers import exact_match, f1, squad_em, squad_f1
from kdbench_qa.squad import squad
from kdbench_qa.windows import NO_ANSWER, QUESTION_LENGTH, starts
from kdbench_text.tokens import bucket

NAMES = ("Ada", "Grace", "Alan", "Emmy", "Kurt", "Sofia")
PLACES = ("London", "New York", "Manchester", "Erlangen", "Brno", "Moscow")
FILLING = [
    "then",
    "it",
    "rained",
    "all",
    "day",
    "and",
    "they",
    "had",
    "tea",
    "by",
    "the",
    "old",
    "mill",
    "near",
    "hill",
]
LENGTH, STRIDE, WORDS = 14, 5, 30


def article(number: int, words: int = WORDS, least: int = LENGTH) -> dict[str, Any]:
    """A text with one name and one place, both after the first `least` words."""
    chance = np.random.RandomState(number)
    text = [FILLING[place] for place in chance.randint(len(FILLING), size=words)]
    where, who = chance.choice(np.arange(least, words), size=2, replace=False)
    text[where], text[who] = PLACES[number % 6], NAMES[chance.randint(6)]
    context = " ".join(text)
    asked = [
        {"id": f"{number}-{kind}", "question": kind, "answers": [{"text": text[at], "answer_start": begin}]}
        for kind, at in (("Where was it?", where), ("Who was it?", who))
        for begin in [len(" ".join(text[:at])) + 1]
    ]
    return {"title": f"Article {number}", "paragraphs": [{"context": context, "qas": asked}]}


def write(path: Path, content: list[dict[str, Any]]) -> str:
    path.write_text(json.dumps({"version": "1.1", "data": content}), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    made = [article(number) for number in range(50)] + [article(number, 12, 1) for number in range(50, 56)]
    return write(tmp_path_factory.mktemp("squad") / "long.json", made)


@given(st.integers(1, 300), st.integers(2, 60), st.data())
def test_windows_overlap_and_every_answer_that_is_no_longer_than_the_overlap_is_in_one_whole(size, length, data):
    stride = data.draw(st.integers(1, length - 1))
    begun = list(starts(size, length, stride))
    assert begun == list(range(0, begun[-1] + 1, stride))
    assert begun[-1] + length >= size
    assert all(start + length < size for start in begun[:-1])
    first = data.draw(st.integers(0, size - 1))
    last = min(first + data.draw(st.integers(0, length - stride)), size - 1)
    assert any(start <= first and last < start + length for start in begun)


def test_a_long_text_is_several_rows_that_share_the_question_and_where_it_has_the_answer(tmp_path):
    context = "one two three four five six seven eight nine ten"
    asked = [
        {"id": "q", "question": "Which?", "answers": [{"text": "five six", "answer_start": context.index("five")}]}
    ]
    short = [{"id": "s", "question": "And?", "answers": [{"text": "two", "answer_start": 4}]}]
    paragraphs = [{"context": context, "qas": asked}, {"context": "one two", "qas": short}]
    data = squad(f"{write(tmp_path / 'f.json', [{'title': 'A', 'paragraphs': paragraphs}])}?length=5&stride=3")
    rows, index = data.views()["words"], {word: bucket(word, 1 << 14) for word in context.split()}
    assert list(data.classes) == ["no answer", "0", "1", "2", "3", "4"]
    assert data.parts.tolist() == [[0, 0], [0, 3], [0, 6], [1, 0]]
    assert data.labels.tolist() == [[0, 0], [2, 3], [0, 0], [2, 2]]
    texts = [context.split()[:5], context.split()[3:8], context.split()[6:], ["one", "two"]]
    for row, text in zip(rows.tolist(), texts, strict=True):
        assert row[QUESTION_LENGTH] == NO_ANSWER
        assert row[QUESTION_LENGTH + 1 :] == [index[word] for word in text] + [0] * (5 - len(text))
    assert (rows[:3, :QUESTION_LENGTH] == rows[0, :QUESTION_LENGTH]).all()
    assert len(np.unique(data.groups)) == 1


def test_where_all_texts_fit_there_are_no_windows_and_the_options_change_nothing(file):
    prepared = [
        prepare("squad", squad(f"{file}?length={WORDS + 1}{more}"), fold=None, folds=None)
        for more in ("", "&long=refuse", "&long=drop", "&stride=7")
    ]
    assert len({dataset.fingerprint for dataset in prepared}) == 1
    assert prepared[0].train.parts is None
    assert prepared[0].classes[0] == "0"


def test_articles_and_questions_are_in_one_split_with_all_of_their_windows(file):
    data = squad(f"{file}?length={LENGTH}&stride={STRIDE}")
    dataset = prepare("squad", data, fold=None, folds=None)
    parts = [part.index.numpy() for part in (dataset.train, dataset.validation, dataset.test)]
    for numbers in (data.groups, data.parts[:, 0]):
        seen = [set(numbers[part].tolist()) for part in parts]
        assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))
    assert sum(map(len, parts)) == len(data.labels) == 50 * 2 * 5 + 6 * 2


def test_of_a_directory_windows_stay_in_the_split_of_their_file(tmp_path):
    write(tmp_path / "train-v1.1.json", [article(number) for number in range(12)])
    write(tmp_path / "dev-v1.1.json", [article(number) for number in range(12, 15)])
    data = squad(f"{tmp_path}?length={LENGTH}&stride={STRIDE}")
    assert (data.split == "test").tolist() == (data.parts[:, 0] >= 24).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (f"length={LENGTH}&stride={LENGTH}", f"windows would not overlap\n  each would begin {LENGTH} tokens after"),
        (f"length={LENGTH}&stride=4000", "windows would not overlap"),
        ("stride=0", "stride=0 is no number of tokens"),
        ("stride=many", "stride=many is no number of tokens"),
        ("long=refuse&stride=5", "no windows to have a stride\n  with long=refuse"),
        ("long=cut", "long=cut is none of window, refuse, drop"),
    ],
)
def test_options_that_make_no_windows_are_refused(file, options, message):
    with pytest.raises(kdbench.InvalidParameter, match=message):
        squad(f"{file}?{options}")


def test_an_answer_that_no_window_holds_is_refused_by_its_question(tmp_path):
    made = article(0)
    context = made["paragraphs"][0]["context"]
    words = context.split()
    made["paragraphs"][0]["qas"][0]["answers"] = [{"text": " ".join(words[:20]), "answer_start": 0}]
    path = write(tmp_path / "f.json", [made])
    with pytest.raises(kdbench.InvalidData, match=r"question '0-Where was it\?' is in no window whole\n  it has \d+"):
        squad(f"{path}?length={LENGTH}")
    assert squad(f"{path}?length=20").parts is not None


class Odd(nn.Module):
    """Logits that depend on the tokens alone, none for padding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        text = x[:, QUESTION_LENGTH:]
        ends = torch.stack([torch.sin(text * 0.37), torch.cos(text * 0.11 + x[:, :1])], dim=1) * 3
        return ends.masked_fill((text == 0)[:, None], -1e4)


def test_exact_match_and_f1_are_of_questions_as_a_plain_loop_over_their_windows_has_them(file):
    argument = f"{file}?length={LENGTH}&stride={STRIDE}"
    data = squad(argument)
    dataset = prepare(f"squad:{argument}", data, fold=None, folds=None)
    test, info = dataset.test, dataset.info("words")
    asked = [(paragraph["context"], question) for article in json.loads(Path(file).read_text())["data"]
             for paragraph in article["paragraphs"] for question in paragraph["qas"]]  # fmt: skip
    said = []
    for number in sorted(set(data.parts[test.index.numpy(), 0].tolist())):
        context, question = asked[number]
        places = [found.span() for found in re.finditer(r"\w+|[^\w\s]", context)]
        prefix = [bucket(word, 1 << 14) for word in re.findall(r"\w+|[^\w\s]", question["question"].lower())]
        best, answer, start = -1.0, "", 0
        while True:
            window = [bucket(context[i:j].lower(), 1 << 14) for i, j in places[start : start + LENGTH]]
            row = [*prefix, *[0] * (QUESTION_LENGTH - len(prefix)), NO_ANSWER, *window, *[0] * (LENGTH - len(window))]
            first, last = Odd()(torch.tensor([row]).float())[0].double().softmax(-1).tolist()
            for i in range(1, len(window) + 1):
                for j in range(i, len(window) + 1):
                    if first[i] * last[j] > best:
                        best = first[i] * last[j]
                        answer = context[places[start + i - 1][0] : places[start + j - 1][1]]
            if start + LENGTH >= len(places):
                break
            start += STRIDE
        said.append((answer, [one["text"] for one in question["answers"]]))
    for metric, score in ((squad_em, exact_match), (squad_f1, f1)):
        found = metric()(Odd(), test.inputs["words"], test.labels, info=info, index=test.index, shared={})
        assert found == pytest.approx(np.mean([score(*each) for each in said]))
    assert len(said) == len({*data.parts[test.index.numpy(), 0].tolist()}) < len(test.labels)
    assert squad_f1()(Odd(), test.inputs["words"], test.labels, info=info, index=test.index, shared={}) > 0


@pytest.fixture(scope="module")
def context(file, tmp_path_factory) -> RunContext:
    """Where the file can be read whole, and as one sees it who reads the first window alone."""
    catalog = load_plugins().catalog

    def first_window() -> kdbench.Data:
        data = squad(f"{file}?length={LENGTH}&stride={STRIDE}")
        first = np.flatnonzero(data.parts[:, 1] == 0)
        return replace(data, inputs={"words": data.views()["words"][first[data.parts[:, 0]]]})

    catalog.add("dataset", "first-window", first_window, "mine", {"task": "span-qa"})
    return RunContext(catalog, tmp_path_factory.mktemp("results"), plugins={}, workers=1)


def trained(context: RunContext, dataset: str, method: str):
    selection = Selection(dataset=(dataset,), teacher=("reader-s",), student=("reader-s",), method=(method,),
                          recipe=("spans",))  # fmt: skip
    settings = [f"{scope}.{setting}" for scope in ("recipe", "teacher_recipe")
                for setting in ("epochs=10", "batch_size=16", "lr=0.01")]  # fmt: skip
    (run,) = make_plan(context.catalog, selection, settings, Repeats(seeds=(0,))).runs
    return train_and_measure(run, context, EpochListener())


@pytest.mark.parametrize("method", ["scratch", "kd", "word_kd"])
def test_teacher_and_student_find_what_lies_beyond_the_first_window(context, file, method):
    record, kept = trained(context, f"squad:{file}?length={LENGTH}&stride={STRIDE}", method)
    for metrics in (record.metrics, record.teacher_metrics):
        assert metrics["accuracy"] > 0.8
        assert 1 >= metrics["squad_f1"] >= metrics["squad_em"] >= metrics["accuracy"]
    assert record.metrics["agreement"] > 0.7
    right = (kept["predicted"] == kept["labels"]).all(1)
    assert right.mean() == pytest.approx(record.metrics["accuracy"])
    assert kept["labels"].shape == kept["predicted"].shape
    assert (kept["labels"][right, 0] >= LENGTH).any()


def test_who_reads_the_first_window_alone_finds_nothing_beyond_it(context):
    _, kept = trained(context, "first-window", "scratch")
    beyond = kept["labels"][:, 0] >= LENGTH
    assert len(beyond) > 20
    assert beyond.mean() > 0.8
    assert not (kept["predicted"] == kept["labels"]).all(1)[beyond].any()
