"""Exact match and F1 of answers as texts, as SQuAD's evaluation defines them (Rajpurkar et al., 2016, sec. 6.1)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kdbench.engine.span_metrics import answered

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation, then without articles, white space collapsed."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the answer is one of the accepted, normalised; else 0."""
    return float(any(normalised(answer) == normalised(one) for one in accepted))


def f1(answer: str, accepted: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of the words, each as often as it comes; the best of the accepted."""
    return max(_f1(normalised(answer).split(), normalised(one).split()) for one in accepted)


def _f1(said: list[str], right: list[str]) -> float:
    shared = sum((Counter(said) & Counter(right)).values())
    return 2 * shared / (len(said) + len(right)) if shared else 0.0


def squad_em() -> Callable[..., float]:
    """The mean exact match of what the model points at, over the questions of the test split of a `squad:` dataset."""
    return partial(_mean, exact_match)


def squad_f1() -> Callable[..., float]:
    """The mean F1 of what the model points at, over the questions of the test split of a `squad:` dataset."""
    return partial(_mean, f1)


def _mean(
    score: Callable[[str, Sequence[str]], float],
    model: Any,
    inputs: Any,
    labels: Any,
    *,
    info: Any,
    index: Any,
    shared: dict[object, Any],
) -> float:
    key = "squad", info.name
    if key not in shared:
        shared[key] = _said(model, inputs, info, index)
    return sum(score(*one) for one in shared[key]) / len(shared[key])


def _said(model: Any, inputs: Any, info: Any, index: Any) -> list[tuple[str, Sequence[str]]]:
    """The text that the model points at, and those that are accepted, for each question."""
    import numpy as np
    import torch

    from kdbench_qa.squad import examples_of, found_argument, read_options
    from kdbench_qa.windows import layout

    argument = found_argument() if info.name == "squad-1.1" else info.name.removeprefix("squad:")
    examples, options = examples_of(argument)[0], read_options(argument)
    where = layout(examples, options.length, options.stride)
    windowed, mine = len(where) > len(examples), where[index.numpy()]
    with torch.no_grad():
        ends = [model(part).double().softmax(-1).cpu().numpy() for part in torch.split(inputs, 256)]
    found = answered(np.concatenate(ends), mine if windowed else None)
    asked = np.unique(mine[:, 0])  # ascending, as the items are
    return [(examples[number].text(*span), examples[number].answers) for number, span in zip(asked, found, strict=True)]
