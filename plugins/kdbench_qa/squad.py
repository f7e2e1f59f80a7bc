"""`squad:FILE`: questions whose answer is a span of a text, in the JSON of SQuAD 1.1."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench_data import places
from kdbench_qa import SQUAD_FIX
from kdbench_text import tokens

TOKEN = re.compile(r"\w+|[^\w\s]")
QUESTION_LENGTH, CONTEXT_LENGTH = 32, 384
OPTIONS = ("length", "long")


@dataclass(frozen=True)
class Example:
    """A question and its text; `answers` are the accepted ones, the first is the one that is learnt.

    `spans` are the places of the context's tokens, as offsets of characters.
    """

    name: str
    title: str
    question: str
    context: str
    answers: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    first: int
    last: int


def squad(argument: str) -> kdbench.Data:
    """`squad:FILE?length=384&long=refuse`: one file, split by article; or a directory with train*.json and dev*.json.

    Of a directory the files `dev*.json` are the test split. Tokens are words and signs, hashed (kdbench_text). A text
    of more than `length` tokens is refused by its question's id, or left out, in every split, with long=drop; it is
    never cut, for where to cut would tell of the answer.

    Raises: DataNotAvailable, InvalidParameter; InvalidData naming the file and the question.
    """
    examples, splits = examples_of(argument)
    length = _options(argument)[1]
    rows, labels = arrays(examples, length)
    titles = {title: number for number, title in enumerate(dict.fromkeys(e.title for e in examples))}
    return kdbench.Data(
        {"words": rows},
        labels,
        [str(place) for place in range(length)],
        task="span-qa",
        split=None if splits is None else np.array(splits),
        groups=np.array([titles[example.title] for example in examples]),
        preprocess="none",
        source=f"squad:{argument}",
    )


def squad_files() -> kdbench.Data:
    """SQuAD 1.1 where its two files are; texts of more than 384 tokens are left out."""
    return squad(found_argument())


def found_argument() -> str:
    """The argument of `squad:` for the directory that has SQuAD's files. Raises: DataNotAvailable."""
    for directory in places.candidates("squad"):
        if any(directory.glob("train*.json")):
            return f"{directory}?long=drop"
    raise kdbench.DataNotAvailable("dataset 'squad-1.1' is not on this machine", "no package brings it", SQUAD_FIX)


def examples_of(argument: str) -> tuple[list[Example], list[str] | None]:
    """The examples of a scheme's argument, and the split of each where files say so."""
    path, length, drop = _options(argument)
    if path.is_dir():
        files = {file: split for prefix, split in (("train", "train"), ("dev", "test"))
                 for file in sorted(path.glob(f"{prefix}*.json"))}  # fmt: skip
        if set(files.values()) != {"train", "test"}:
            raise kdbench.InvalidData(
                f"{path} does not hold SQuAD", "train*.json and dev*.json are needed", "or name one file"
            )
    else:
        files = {path: ""}
    examples: list[Example] = []
    splits: list[str] = []
    for file, split in files.items():
        for example in read_file(file):
            if len(example.spans) > length:
                if drop:
                    continue
                raise kdbench.InvalidData(
                    f"{file}: the text of question {example.name!r} has {len(example.spans)} tokens",
                    f"at most {length} are read",
                    f"squad:{path}?length={len(example.spans)}, or ?long=drop",
                )
            examples.append(example)
            splits.append(split)
    if not examples:
        raise kdbench.InvalidData(f"{path} has no question", f"with texts of at most {length} tokens")
    return examples, None if not path.is_dir() else splits


def arrays(examples: list[Example], length: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Token indices of question and text, (N, 32 + length), and the answers' first and last places, (N, 2)."""
    questions = tokens.indices([tokens.words(example.question) for example in examples], QUESTION_LENGTH, "words")
    texts = [[example.context[start:end].lower() for start, end in example.spans] for example in examples]
    rows = np.concatenate([questions, tokens.indices(texts, length, "words")], axis=1)
    return rows, np.array([(example.first, example.last) for example in examples])


def read_file(file: Path) -> list[Example]:
    """The questions of one file. Raises: InvalidData naming the question for an answer that is not where it is said."""
    try:
        content = json.loads(file.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise kdbench.InvalidData(f"{file} is not JSON", str(error), "fetch it again") from error
    try:
        return [
            _example(file, str(article.get("title", number)), paragraph["context"], question)
            for number, article in enumerate(content["data"])
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise kdbench.InvalidData(
            f"{file} is not of SQuAD's form", f"{type(error).__name__}: {error}",
            "data: [{title, paragraphs: [{context, qas: [{id, question, answers: [{text, answer_start}]}]}]}]",
        ) from error  # fmt: skip


def _example(file: Path, title: str, context: str, question: dict[str, Any]) -> Example:
    name, answers = question["id"], question["answers"]
    if not answers:
        raise kdbench.InvalidData(
            f"{file}: question {name!r} has no answer", "of SQuAD 2.0 only what can be answered can be learnt here",
            "remove it, or use version 1.1",
        )  # fmt: skip
    for answer in answers:
        start, text = answer["answer_start"], answer["text"]
        if not text.strip() or start < 0 or context[start : start + len(text)] != text:
            raise kdbench.InvalidData(
                f"{file}: an answer of question {name!r} is not where it is said to be",
                f"{text!r} at {start}; the text has {context[max(0, start) :][: len(text)]!r} there",
                "correct answer_start, or remove the question",
            )
    spans = tuple(match.span() for match in TOKEN.finditer(context))
    start, end = answers[0]["answer_start"], answers[0]["answer_start"] + len(answers[0]["text"])
    inside = [place for place, (one, other) in enumerate(spans) if one < end and other > start]
    if not inside:
        raise kdbench.InvalidData(f"{file}: the answer of question {name!r} has no word or sign", fix="remove it")
    texts = tuple(answer["text"] for answer in answers)
    return Example(name, title, question["question"], context, texts, spans, inside[0], inside[-1])


def _options(argument: str) -> tuple[Path, int, bool]:
    path, chosen = places.options(argument, "squad", OPTIONS)
    length, long = chosen.get("length", str(CONTEXT_LENGTH)), chosen.get("long", "refuse")
    if not length.isdigit() or not 1 <= int(length) <= 4096 or long not in {"refuse", "drop"}:
        raise kdbench.InvalidParameter(
            f"dataset 'squad:{argument}': an option has no value that is known",
            "length is a number of tokens in [1, 4096], long is refuse or drop",
        )
    return places.existing(path, "squad"), int(length), long == "drop"
