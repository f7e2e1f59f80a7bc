"""`squad:FILE`: questions whose answer is a span of a text, in the JSON of SQuAD 1.1."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench_data import places
from kdbench_qa import SQUAD_FIX
from kdbench_qa.windows import STRIDE, holds, rows, starts

TOKEN = re.compile(r"\w+|[^\w\s]")
CONTEXT_LENGTH = 384
OPTIONS = ("length", "long", "stride", "unanswerable")
LONG = ("window", "refuse", "drop")
UNANSWERABLE = ("refuse", "drop")


@dataclass(frozen=True, eq=False)
class Example:
    """A question and its text; `answers` are the accepted ones, the first is the one that is learnt.

    `spans` (T, 2) are the places of the context's tokens, as offsets of characters; all questions of a text share them.
    """

    name: str
    title: str
    question: str
    context: str
    answers: tuple[str, ...]
    spans: NDArray[np.int32]
    first: int
    last: int

    def text(self, first: int, last: int) -> str:
        """What is between two tokens, both included; a place after the last token is the last."""
        end = len(self.spans) - 1
        return self.context[self.spans[min(first, end)][0] : self.spans[min(last, end)][1]]


@dataclass(frozen=True)
class Options:
    """What a scheme's argument says: `length` and `stride` are numbers of tokens, `long` is one of LONG.

    `unanswerable`, one of UNANSWERABLE, is what becomes of questions without an answer.
    """

    path: Path
    length: int
    long: str
    stride: int
    unanswerable: str


def squad(argument: str) -> kdbench.Data:
    """`squad:FILE?length=384&long=window&stride=128`: one file, split by article; or a directory of two.

    Of a directory `train*.json` are the train split, `dev*.json` the test split. Tokens are words and signs, hashed
    (kdbench_text). A text of more than `length` tokens becomes windows, `stride` tokens from the beginning of one to
    that of the next (kdbench_qa.windows), which are scored together; with long=refuse it is refused by its question's
    id, with long=drop left out, in every split. It is never cut short, for where to cut would tell of the answer. A
    question that SQuAD 2.0 says cannot be answered is refused by its id, with unanswerable=drop left out.

    Raises: DataNotAvailable, InvalidParameter; InvalidData naming the file and the question.
    """
    examples, splits = examples_of(argument)
    options = read_options(argument)
    made = rows(examples, options.length, options.stride)
    titles = {title: number for number, title in enumerate(dict.fromkeys(e.title for e in examples))}
    of_row, names = made.layout[:, 0], [str(place) for place in range(options.length)]
    return kdbench.Data(
        {"words": made.words},
        made.labels,
        ["no answer", *names] if made.windowed else names,
        task="span-qa",
        split=None if splits is None else np.array(splits)[of_row],
        groups=np.array([titles[example.title] for example in examples])[of_row],
        parts=made.layout if made.windowed else None,
        preprocess="none",
        source=f"squad:{argument}",
    )


def squad_files() -> kdbench.Data:
    """SQuAD 1.1 where its two files are; texts of more than 384 tokens are read in windows."""
    return squad(found_argument())


def found_argument() -> str:
    """The argument of `squad:` for the directory that has SQuAD's files. Raises: DataNotAvailable."""
    for directory in places.candidates("squad"):
        if any(directory.glob("train*.json")):
            return str(directory)
    raise kdbench.DataNotAvailable("dataset 'squad-1.1' is not on this machine", "no package brings it", SQUAD_FIX)


def examples_of(argument: str) -> tuple[list[Example], list[str] | None]:
    """The examples of a scheme's argument, and the split of each where files say so."""
    options = read_options(argument)
    path, length = options.path, options.length
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
        for example in read_file(file, options.unanswerable):
            if len(example.spans) > length:
                if options.long == "drop":
                    continue
                _check_long(file, example, options)
            examples.append(example)
            splits.append(split)
    if not examples:
        raise kdbench.InvalidData(f"{path} has no question", f"with texts of at most {length} tokens")
    return examples, None if not path.is_dir() else splits


def _check_long(file: Path, example: Example, options: Options) -> None:
    """Raise InvalidData for a long text that is not to be windowed, or whose answer no window holds."""
    length, size = options.length, len(example.spans)
    if options.long == "refuse":
        raise kdbench.InvalidData(
            f"{file}: the text of question {example.name!r} has {size} tokens",
            f"at most {length} are read",
            f"squad:{options.path}?length={size}, or ?long=window, or ?long=drop",
        )
    if not any(holds(example, start, length) for start in starts(size, length, options.stride)):
        raise kdbench.InvalidData(
            f"{file}: the answer of question {example.name!r} is in no window whole",
            f"it has {example.last - example.first + 1} tokens; windows of {length} share {length - options.stride}",
            "give a smaller stride or a greater length, or remove the question",
        )


def read_file(file: Path, unanswerable: str = "refuse") -> list[Example]:
    """The questions of one file. Raises: InvalidData naming the question for an answer that is not where it is said."""
    state = file.stat()
    return list(_read_file(file, unanswerable, (state.st_mtime_ns, state.st_size)))


@lru_cache(maxsize=2)  # train and dev: the dataset and each of its metrics ask for them
def _read_file(file: Path, unanswerable: str, state: tuple[int, int]) -> tuple[Example, ...]:
    try:
        content = json.loads(file.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise kdbench.InvalidData(f"{file} is not JSON", str(error), "fetch it again") from error
    examples: list[Example] = []
    try:
        for number, article in enumerate(content["data"]):
            for paragraph in article["paragraphs"]:
                context = paragraph["context"]
                spans = np.array([match.span() for match in TOKEN.finditer(context)], dtype=np.int32).reshape(-1, 2)
                examples += [
                    _example(file, str(article.get("title", number)), context, spans, question)
                    for question in paragraph["qas"]
                    if question["answers"] or unanswerable == "refuse"
                ]
    except (KeyError, TypeError, AttributeError) as error:
        raise kdbench.InvalidData(
            f"{file} is not of SQuAD's form", f"{type(error).__name__}: {error}",
            "data: [{title, paragraphs: [{context, qas: [{id, question, answers: [{text, answer_start}]}]}]}]",
        ) from error  # fmt: skip
    return tuple(examples)


def _example(file: Path, title: str, context: str, spans: NDArray[np.int32], question: dict[str, Any]) -> Example:
    name, answers = question["id"], question["answers"]
    if not answers:
        raise kdbench.InvalidData(
            f"{file}: question {name!r} has no answer", "of SQuAD 2.0 only what can be answered can be learnt here",
            f"squad:{file}?unanswerable=drop leaves such questions out",
        )  # fmt: skip
    for answer in answers:
        start, text = answer["answer_start"], answer["text"]
        if not text.strip() or start < 0 or context[start : start + len(text)] != text:
            raise kdbench.InvalidData(
                f"{file}: an answer of question {name!r} is not where it is said to be",
                f"{text!r} at {start}; the text has {context[max(0, start) :][: len(text)]!r} there",
                "correct answer_start, or remove the question",
            )
    start, end = answers[0]["answer_start"], answers[0]["answer_start"] + len(answers[0]["text"])
    inside = np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > start)).tolist()
    if not inside:
        raise kdbench.InvalidData(f"{file}: the answer of question {name!r} has no word or sign", fix="remove it")
    texts = tuple(answer["text"] for answer in answers)
    return Example(name, title, question["question"], context, texts, spans, inside[0], inside[-1])


def read_options(argument: str) -> Options:
    """The path and the options of a scheme's argument; a stride that it does not say is 128, or a third of a length
    below 384. Raises: DataNotAvailable, InvalidParameter.
    """
    path, chosen = places.options(argument, "squad", OPTIONS)
    length, long = _tokens(argument, chosen, "length", CONTEXT_LENGTH), chosen.get("long", LONG[0])
    if long not in LONG:
        raise kdbench.InvalidParameter(f"dataset 'squad:{argument}': long={long} is none of {', '.join(LONG)}")
    if (unanswerable := chosen.get("unanswerable", UNANSWERABLE[0])) not in UNANSWERABLE:
        raise kdbench.InvalidParameter(
            f"dataset 'squad:{argument}': unanswerable={unanswerable} is none of {', '.join(UNANSWERABLE)}"
        )
    stride = _tokens(argument, chosen, "stride", min(STRIDE, max(1, length // 3)))
    if "stride" in chosen and long != "window":
        raise kdbench.InvalidParameter(
            f"dataset 'squad:{argument}': there are no windows to have a stride",
            f"with long={long}",
            "leave stride out",
        )
    if "stride" in chosen and stride >= length:
        raise kdbench.InvalidParameter(
            f"dataset 'squad:{argument}': windows would not overlap",
            f"each would begin {stride} tokens after the one before, and has {length}",
            f"give a stride of less than {length}, or a greater length",
        )
    return Options(places.existing(path, "squad"), length, long, stride, unanswerable)


def _tokens(argument: str, chosen: dict[str, str], option: str, default: int) -> int:
    text = chosen.get(option, str(default))
    if not text.isdigit() or not 1 <= int(text) <= 4096:
        raise kdbench.InvalidParameter(
            f"dataset 'squad:{argument}': {option}={text} is no number of tokens", f"{option} lies in [1, 4096]"
        )
    return int(text)
