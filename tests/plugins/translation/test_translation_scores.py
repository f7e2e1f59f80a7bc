"""BLEU, chrF and speed of what a model writes."""

from __future__ import annotations

import math

import pytest
import sacrebleu
import torch
from torch import nn

import kdbench
from kdbench.data import BEGIN, END, DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench_language.generation import translate
from kdbench_translation.scores import bleu, chrf, text_of, tokens_per_second, translations

PIECES = (
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    "▁the",
    "▁open",
    "▁file",
    "s",
    "▁",
    "打开",
    "文件",
    "<0xE9>",
    "<0xBE>",
    "<0x98>",
)


class Said(nn.Module):
    """Writes the targets that it was given, whatever the source."""

    def __init__(self, targets: list[list[int]]) -> None:
        super().__init__()
        self.targets = targets

    def read_source(self, source):
        return [(source[:, 0].long(),)]

    def read_on(self, tokens, past, memory):
        ((item,),) = memory
        item = item.repeat_interleave(len(tokens) // len(item))
        place = torch.zeros_like(item) if past is None else past[0][0]
        said = [([*self.targets[n], END] + [END] * 9)[at] for n, at in zip(item.tolist(), place.tolist(), strict=True)]
        return torch.nn.functional.one_hot(torch.tensor(said), len(PIECES)) * 30.0, [(place + 1,)]


def case(references: list[list[int]]):
    labels = torch.full((len(references), 6), -100)
    for row, reference in zip(labels, references, strict=True):
        row[: len(reference) + 1] = torch.tensor([*reference, END])
    inputs = torch.cat([torch.arange(len(references))[:, None], torch.full((len(references), 6), BEGIN)], 1)
    info = DatasetInfo("text", "seq2seq", len(PIECES), (7,), 9, class_names=PIECES, label_shape=(6,))
    return inputs.float(), labels, info


@pytest.mark.parametrize("how", ["greedy", "beam3"])
@pytest.mark.parametrize(
    ("written", "right", "tokenizer"),
    [
        ([[4, 6, 7], [5, 4, 6]], [[4, 6, 7], [5, 4, 6, 7]], "13a"),
        ([[8, 9, 10], [8, 9]], [[8, 9, 10], [8, 9, 10]], "zh"),
        ([[], [5]], [[4, 6], [5, 4, 6, 7]], "13a"),
    ],
)
def test_scores_are_those_of_sacrebleu_on_the_texts(written, right, tokenizer, how):
    inputs, labels, info = case(right)
    model = Said(written)
    texts = [["".join(PIECES[t] for t in row).replace("▁", " ").strip() for row in rows] for rows in (written, right)]
    assert translations(model, inputs, labels, PIECES, 1) == tuple(texts)
    expected = sacrebleu.BLEU(tokenize=tokenizer).corpus_score(texts[0], [texts[1]]).score
    assert math.isclose(bleu(how)(model, inputs, labels, info=info, shared={}), expected)
    assert math.isclose(
        chrf(how)(model, inputs, labels, info=info, shared={}),
        sacrebleu.CHRF().corpus_score(*texts[:1], [texts[1]]).score,
    )


def test_what_is_written_is_written_once_for_both_scores_and_anew_for_another_way(monkeypatch):
    inputs, labels, info = case([[4, 6, 7], [5, 4, 6]])
    model, passes = Said([[4, 6, 7], [5, 4, 6]]), []
    read = model.read_source
    monkeypatch.setattr(model, "read_source", lambda source: passes.append(len(source)) or read(source))
    shared = {}
    for metric, seen in ((bleu("greedy"), 1), (chrf("greedy"), 1), (chrf("beam2"), 2), (bleu("beam2"), 2)):
        assert metric(model, inputs, labels, info=info, shared=shared) == metric(
            Said([[4, 6, 7], [5, 4, 6]]), inputs, labels, info=info, shared={}
        )
        assert len(passes) == seen


def test_a_character_in_bytes_is_put_together_and_one_cut_in_half_does_not_raise():
    assert text_of([8, 11, 12, 13, END, 4], PIECES) == "龘"
    assert text_of([5, 11, 12, -100], PIECES) == "open\ufffd"


def test_speed_is_the_tokens_written_by_the_seconds_they_took():
    inputs, labels, _ = case([[4, 6, 7], [5]])
    times = iter([10.0, 12.5])
    speed = tokens_per_second("greedy", clock=lambda: next(times))
    assert speed(Said([[4, 6, 7], [5]]), inputs, labels) == (4 + 2) / 2.5


@pytest.mark.parametrize("text", ["", "beam", "beam0", "sampled", "beam4 "])
def test_an_unknown_way_to_write_is_refused_by_name(text):
    for name, metric in (("bleu", bleu), ("chrf", chrf), ("tokens_per_s", tokens_per_second)):
        with pytest.raises(kdbench.InvalidParameter, match=f"metric '{name}:{text}'"):
            metric(text)


def test_a_model_that_cannot_write_is_refused(small_text):
    inputs, labels, info = case([[4]])
    with pytest.raises(kdbench.ModelMismatch, match="a Linear cannot write"):
        bleu()(nn.Linear(2, 2), inputs, labels, info=info, shared={})


def test_a_model_that_has_learnt_translates_the_test_split(bench, small_text):
    test = prepare("tested", small_text, fold=None, folds=None).test
    info = bench.info
    own = bleu("beam4")(bench.teacher, test.inputs["input"], test.labels, info=info, shared={})
    untrained = bleu("beam4")(bench.builds[1](info), test.inputs["input"], test.labels, info=info, shared={})
    assert own > untrained + 10
    assert translate(bench.teacher, test.inputs["input"][:, :24], 24, 1).shape == (len(test.labels), 24)
