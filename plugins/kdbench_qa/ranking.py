"""Answer ranking: each question has to find the sentence embedding of its answer among those of its split."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import kdbench
from kdbench_qa.sources import TRIVIA
from kdbench_qa.trivia import GENERAL, WORLDS, answer_numbers, read_lists
from kdbench_text import tokens
from kdbench_text.sentences import minilm, minilm_directory
from kdbench_text.sources import MINILM

VERSION = 1
"""Of reading and tokenising; another number and what is kept is made again."""
LISTS = "redbot/cogs/trivia/data/lists"
LENGTH, MAX_TOKENS = 32, 48


def ranking(subjects: Sequence[str]) -> kdbench.Data:
    """Questions of these lists: views words (N, 32), ngrams (N, 63) and minilm (N, 384), targets minilm of the answer.

    The first accepted answer is the one that is embedded. Items of one label have an accepted answer in common, and are
    in one split: the lists ask for some answers twice in almost the same words. The candidates of a question are the
    answers of all questions of its split.
    """
    directory, model = kdbench.source_path(TRIVIA) / LISTS, minilm_directory()

    def build() -> dict[str, Any]:
        questions = read_lists(directory, subjects)
        texts = [question.question for question in questions]
        answers = [question.answers[0] for question in questions]
        distinct = sorted(set(answers))
        place = {answer: number for number, answer in enumerate(distinct)}
        embedded = minilm([*texts, *distinct], model, MAX_TOKENS)
        return {
            **tokens.views(texts, LENGTH),
            "minilm": embedded[: len(texts)],
            "targets": embedded[len(texts) :][[place[answer] for answer in answers]],
            "labels": np.array(answer_numbers(questions)),
        }

    parts = [TRIVIA.sha256, MINILM.sha256, VERSION, list(subjects), LENGTH, MAX_TOKENS]
    return as_data(kdbench.remember("trivia", parts, build))


def as_data(arrays: dict[str, Any]) -> kdbench.Data:
    """The dataset of those arrays; nothing is standardised, lengths and angles count."""
    return kdbench.Data(
        {view: array for view, array in arrays.items() if view not in {"labels", "targets"}},
        arrays["labels"],
        (),
        task="retrieval",
        targets=arrays["targets"],
        groups=arrays["labels"],
        preprocess="none",
        source=f"{TRIVIA}, embedded by {MINILM}",
        licence=TRIVIA.licence,
    )


trivia = partial(ranking, (*GENERAL, *WORLDS))
trivia_general = partial(ranking, GENERAL)
