"""Questions and texts as rows of tokens: a text that is too long as overlapping windows, each with the question.

The paper of BERT (Devlin et al., 2019) does not say what is done with long texts; its code for SQuAD reads windows of
one length, each of which begins `doc_stride` = 128 tokens after the one before. In training one that does not hold the
answer whole points with both ends at [CLS], as section 4.3 has it for questions without an answer. So it is here, with
a token in the place of [CLS]. That code also scores a token in the one window alone that shows most around it; here it
may be answered from any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdbench_text import tokens

if TYPE_CHECKING:
    from kdbench_qa.squad import Example

QUESTION_LENGTH = 32
STRIDE = 128
NO_ANSWER = tokens.bucket("[no answer]", tokens.BUCKETS["words"])
"""The token before a window's text that stands for "not in here"; no word has brackets."""


class Rows(NamedTuple):
    """What is learnt from examples.

    Attributes:
        words: token indices, int32, (W, 32 + places): the question, in windows NO_ANSWER, and the text.
        labels: the answer's first and last place, (W, 2); (0, 0) for a window that does not hold it whole.
        layout: the number of each row's example, and the token of its text that the row begins with, (W, 2).
        windowed: whether any text has several rows; only then is place 0 NO_ANSWER's.
    """

    words: NDArray[np.int32]
    labels: NDArray[np.int64]
    layout: NDArray[np.int64]
    windowed: bool


def starts(size: int, length: int, stride: int) -> range:
    """Where the windows of a text of so many tokens begin: every `stride` tokens, until one reaches the end."""
    return range(0, max(size - length, 0) + stride, stride)


def holds(example: Example, start: int, length: int) -> bool:
    """Whether the window has all of the answer that is learnt."""
    return start <= example.first and example.last < start + length


def layout(examples: Sequence[Example], length: int, stride: int) -> NDArray[np.int64]:
    """`Rows.layout`."""
    return np.array(
        [(number, start) for number, e in enumerate(examples) for start in starts(len(e.spans), length, stride)]
    )


def rows(examples: Sequence[Example], length: int, stride: int) -> Rows:
    """Windows of at most `length` tokens; where every text fits into one, without a token for no answer."""
    where = layout(examples, length, stride)
    windowed = len(where) > len(examples)
    parts = [(examples[number], start) for number, start in where.tolist()]
    questions = tokens.indices([tokens.words(example.question) for example in examples], QUESTION_LENGTH, "words")
    texts = [[e.context[one:end].lower() for one, end in e.spans[start : start + length]] for e, start in parts]
    mark = np.full((len(where), int(windowed)), NO_ANSWER, dtype=np.int32)
    words = np.concatenate([questions[where[:, 0]], mark, tokens.indices(texts, length, "words")], axis=1)
    labels = [
        (e.first - start + windowed, e.last - start + windowed) if holds(e, start, length) else (0, 0)
        for e, start in parts
    ]
    return Rows(words, np.array(labels), where, windowed)
