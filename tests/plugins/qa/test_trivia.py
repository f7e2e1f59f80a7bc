"""Answer ranking: what is read, what is refused, that no question crosses splits, and that students learn it."""

from __future__ import annotations

import numpy as np
import pytest

import kdbench
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.datasets import prepare
from kdbench.engine.run import train_and_measure
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection
from kdbench_qa.ranking import as_data
from kdbench_qa.trivia import Question, answer_numbers, read_lists
from kdbench_text import tokens

FIRST = """AUTHOR: nobody
DESCRIPTION: A list.
"Which year came before 1985?":
- 1984
- nineteen eighty-four
Is water wet?:
- Yes
"Who wrote \\"Hamlet\\"?":
- Shakespeare
- William Shakespeare
"""
SECOND = """AUTHOR: nobody
WHO WROTE "HAMLET":
- Marlowe
"Who wrote Macbeth?":
- William Shakespeare
"""


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "first.yaml").write_text(FIRST, encoding="utf-8")
    (tmp_path / "second.yaml").write_text(SECOND, encoding="utf-8")
    return tmp_path


def test_scalars_are_text_as_written_and_a_question_of_two_lists_is_taken_once(lists):
    assert read_lists(lists, ["first", "second"]) == [
        Question("first", "Which year came before 1985?", ("1984", "nineteen eighty-four")),
        Question("first", "Is water wet?", ("Yes",)),
        Question("first", 'Who wrote "Hamlet"?', ("Shakespeare", "William Shakespeare")),
        Question("second", "Who wrote Macbeth?", ("William Shakespeare",)),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"question:\n- answer\n broken: [", r"first\.yaml, line 3, is not YAML"),
        ("Wie heißt er?:\n- Jürgen\n".encode("latin-1"), r"first\.yaml, line 1, is not utf-8"),
        (b"What?: answer\n", r"has a question without answers\n  'What\?': 'answer'"),
        (b"What?: []\n", "has a question without answers"),
        (b"What?:\n- ''\n", "has a question without answers"),
        (b"- What?\n", "is not a mapping of questions"),
    ],
)
def test_a_damaged_list_is_refused_by_file_and_place(lists, content, message):
    (lists / "first.yaml").write_bytes(content)
    with pytest.raises(kdbench.InvalidData, match=message):
        read_lists(lists, ["first"])


def test_a_list_that_is_not_there_is_told_with_the_command_that_gets_it(lists):
    with pytest.raises(kdbench.DataNotAvailable, match=r"'third' is not on this[\s\S]*kdbench data fetch trivia"):
        read_lists(lists, ["third"])


def test_questions_that_accept_one_answer_have_one_number():
    def asked(*answers: str) -> Question:
        return Question("list", "?", answers)

    given = [asked("Shakespeare", "William Shakespeare"), asked("1984"), asked("william shakespeare!"), asked("Bard"),
             asked("Bard", "Shakespeare"), asked("1984 "), asked("2")]  # fmt: skip
    assert answer_numbers(given) == [0, 1, 0, 0, 0, 1, 2]


COLOURS, ANIMALS = 10, 12
ASKED = ("Which {} {} is it?", "Name the {} {}!", "A {} {}?", "What do people call {} {}?")


def small() -> kdbench.Data:
    """Four ways to ask for each of 120 animals by colour and kind; its embedding is made of those of the two words.

    So an answer that was never seen in training can be found by words that were.
    """
    random = np.random.RandomState(0)
    colours, animals = random.randn(COLOURS, 1, 16), random.randn(1, ANIMALS, 16)
    answers = (colours + animals).reshape(-1, 16).astype(np.float32)
    answers /= np.linalg.norm(answers, axis=1, keepdims=True)
    pairs = [(f"colour{colour}", f"animal{animal}") for colour in range(COLOURS) for animal in range(ANIMALS)]
    texts = [way.format(*pair) for pair in pairs for way in ASKED]
    targets = np.repeat(answers, len(ASKED), axis=0)
    near = targets + 0.05 * random.randn(*targets.shape).astype(np.float32)
    return as_data(
        {**tokens.views(texts, 8), "minilm": near / np.linalg.norm(near, axis=1, keepdims=True), "targets": targets,
         "labels": np.repeat(np.arange(len(pairs)), len(ASKED))}
    )  # fmt: skip


def test_questions_that_share_an_answer_are_in_one_split():
    data = small()
    dataset = prepare("small", data, fold=None, folds=None)
    labels = np.asarray(data.labels)
    asked = [set(labels[part.index.numpy()].tolist()) for part in (dataset.train, dataset.validation, dataset.test)]
    assert all(asked)
    assert sum(map(len, asked)) == len(asked[0] | asked[1] | asked[2]) == COLOURS * ANIMALS


@pytest.mark.parametrize("method", ["scratch", "logit_mse", "rkd", "contrastive_crossmodal"])
def test_students_that_read_words_learn_to_find_answers(tmp_path_factory, method):
    catalog = load_plugins().catalog
    catalog.add("dataset", "small", small, "test", {"task": "retrieval"})
    context = RunContext(catalog, tmp_path_factory.mktemp("results"), plugins={}, workers=1)
    selection = Selection(dataset=("small",), teacher=("given-embedding",), student=("bag-m",), method=(method,),
                          recipe=("ranking",))  # fmt: skip
    settings = ["teacher_view=minilm", "student_view=words", "recipe.epochs=12", "recipe.batch_size=48"]
    if method == "logit_mse":
        settings.append("logit_mse.weight=50")
    (run,) = make_plan(catalog, selection, settings, Repeats(seeds=(0,))).runs
    record, _ = train_and_measure(run, context, EpochListener())
    assert record.teacher_metrics["precision_at_1"] == 1
    candidates = COLOURS * ANIMALS // 5
    assert record.metrics["mrr"] > 3 * np.mean(1 / np.arange(1, candidates + 1))
