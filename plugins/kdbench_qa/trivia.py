"""Trivia: questions with their accepted answers, in YAML lists of one subject each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import kdbench
from kdbench_text import tokens

DATASET = "trivia"
GENERAL = (
    "artandliterature", "cars", "computers", "entertainment", "games", "general", "geography", "greekmyth", "music",
    "sports",
)  # fmt: skip
"""Lists that ask about the world."""
WORLDS = ("disney", "gameofthrones", "harrypotter", "lotr", "startrek", "starwars")
"""Lists that ask about one story; the others ask for pictures, names of one kind, or numbers."""


class Question(NamedTuple):
    """A question, the list that it is of, and what is accepted as its answer; the first is what candidates show."""

    subject: str
    question: str
    answers: tuple[str, ...]


def read_lists(directory: Path, subjects: Sequence[str]) -> list[Question]:
    """The questions of these lists, in order; of those that differ in case and punctuation alone the first.

    Args:
        directory: where `SUBJECT.yaml` are: a mapping of questions to sequences of answers, names in capitals
            (AUTHOR, DESCRIPTION) aside. Every scalar is taken as it is written, so that `Yes` and `1984` are text.

    Raises: DataNotAvailable for a list that is not there; InvalidData, naming the file and the line or question, for
        one that is not UTF-8 or YAML, or a question without answers.
    """
    found: dict[str, Question] = {}
    for subject in subjects:
        for question in _read(directory / f"{subject}.yaml", subject):
            found.setdefault(tokens.plain(question.question), question)
    return list(found.values())


def _read(file: Path, subject: str) -> list[Question]:
    import yaml

    if not file.is_file():
        raise kdbench.DataNotAvailable(
            f"trivia list {subject!r} is not on this machine", f"no file {file}", f"kdbench data fetch {DATASET}"
        )
    text = tokens.decoded(DATASET, file.read_bytes(), file.name)
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise kdbench.InvalidData(
            f"dataset {DATASET!r}: {file.name}, line {line}, is not YAML", str(error.problem), "fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise kdbench.InvalidData(
            f"dataset {DATASET!r}: {file.name} is not a mapping of questions", fix="fetch it again"
        )
    questions = []
    for question, answers in content.items():
        if question.isupper() and question.isalpha():  # what is said of the list
            continue
        texts = [str(answer).strip() for answer in answers] if isinstance(answers, list) else []
        if not texts or not all(texts) or not tokens.plain(question):
            raise kdbench.InvalidData(
                f"dataset {DATASET!r}: {file.name} has a question without answers", f"{question!r}: {answers!r}",
                "give it a sequence of answers, or remove it",
            )  # fmt: skip
        questions.append(Question(subject, question.strip(), tuple(texts)))
    return questions


def answer_numbers(questions: Sequence[Question]) -> list[int]:
    """A number for each question's answer: the same where any accepted answer of two is the same text.

    So a candidate counts as right for every question that accepts it, through chains of spellings too.
    """
    number_of: dict[str, int] = {}
    parents: list[int] = []

    def root(number: int) -> int:
        while parents[number] != number:
            number = parents[number]
        return number

    for number, question in enumerate(questions):
        parents.append(number)
        for answer in question.answers:
            key = tokens.plain(answer) or answer
            parents[root(number)] = root(number_of.setdefault(key, number))
    roots = [root(number) for number in range(len(questions))]
    order = {one: place for place, one in enumerate(dict.fromkeys(roots))}
    return [order[one] for one in roots]
