"""How encoder-decoders write: greedily, by beam search, by sampling; against every target there is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from kdbench.data import BEGIN, END, PADDING, DatasetInfo
from kdbench.testing import check_model
from kdbench_language.generation import as_targets, sample_target, translate
from kdbench_translation.models import EncoderDecoder, mt_s

VOCABULARY, LENGTH = 5, 3
SOURCES = torch.tensor([[3, 4, 2, 0], [4, 4, 4, 2], [3, 2, 0, 0]])


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    torch.manual_seed(3)
    made = EncoderDecoder(VOCABULARY, SOURCES.shape[1], LENGTH, 8, 1, 2)
    with torch.no_grad():
        made.tokens.weight *= 4  # far from uniform
    return made


def log_probability(model: EncoderDecoder, source: torch.Tensor, target: list[int]) -> float:
    """Of a target under teacher forcing, when nothing but words and the end may be said."""
    read = torch.tensor([[BEGIN, *target[:-1]]])
    with torch.no_grad():
        logits = model.eval()(torch.cat([source[None], read], 1))[0, : len(target)]
    logs = logits.log_softmax(-1)
    return sum(float(logs[place, token]) for place, token in enumerate(target))


def targets() -> list[list[int]]:
    words = [token for token in range(VOCABULARY) if token not in (PADDING, BEGIN, END)]
    short = [[*rest, END] for length in range(LENGTH) for rest in itertools.product(words, repeat=length)]
    return short + [list(rest) for rest in itertools.product(words, repeat=LENGTH)]


def written(row: torch.Tensor) -> list[int]:
    return [token for token in row.tolist() if token != PADDING]


@pytest.mark.parametrize("normalise", [0.0, 1.0])
def test_enough_beams_find_the_best_of_all_targets(model, normalise):
    found = translate(model, SOURCES, LENGTH, beams=60, normalise=normalise)
    assert found.shape == (len(SOURCES), LENGTH)
    for source, row in zip(SOURCES, found, strict=True):
        worth = {tuple(t): log_probability(model, source, t) / len(t) ** normalise for t in targets()}
        assert math.isclose(worth[tuple(written(row))], max(worth.values()), rel_tol=1e-5)


def test_one_beam_says_the_most_probable_token_each_time(model):
    for source, row in zip(SOURCES, translate(model, SOURCES, LENGTH, beams=1), strict=True):
        said: list[int] = []
        while len(said) < LENGTH and END not in said:
            choices = [token for token in range(VOCABULARY) if token not in (PADDING, BEGIN)]
            said.append(max(choices, key=lambda token: log_probability(model, source, [*said, token])))
        assert written(row) == said


@pytest.mark.parametrize("rows", [1, 3])
def test_reading_token_by_token_gives_the_logits_of_reading_all(model, rows):
    generator = torch.Generator().manual_seed(0)
    read = torch.randint(3, VOCABULARY, (len(SOURCES) * rows, LENGTH), generator=generator)
    read[:, 0] = BEGIN
    with torch.no_grad():
        whole = model.eval()(torch.cat([SOURCES.repeat_interleave(rows, 0), read], 1))
        memory, past = model.read_source(SOURCES), None
        for place in range(LENGTH):
            logits, past = model.read_on(read[:, place : place + 1], past, memory)
            torch.testing.assert_close(logits, whole[:, place])


@pytest.mark.parametrize(("beams", "ends"), [(1, 8), (3, 12), (3, 16)])
def test_what_has_ended_is_not_read_any_further(beams, ends):
    """Sources say together what each says alone, and as many rows are read; `ends` is how likely an end is."""
    torch.manual_seed(0)
    model, length = EncoderDecoder(9, 6, 8, 8, 1, 2), 8
    with torch.no_grad():
        model.tokens.weight *= 4
        model.encoder_norm.weight *= 8
        model.bias[END] += ends
    sources = torch.randint(3, 9, (12, 6), generator=torch.Generator().manual_seed(1))

    def say(part):
        read = []
        return translate(model, part, length, beams, on_read=read.append), sum(read)

    said, counts = zip(*[say(sources[row : row + 1]) for row in range(len(sources))], strict=True)
    together, count = say(sources)
    assert torch.equal(together, torch.cat(said))
    assert count == sum(counts) < len(sources) * (1 + beams * (length - 1))


def test_padding_of_the_source_and_later_tokens_of_the_target_change_nothing(model):
    wide = EncoderDecoder(VOCABULARY, 6, LENGTH, 8, 1, 2)
    state = model.state_dict()
    state["source_positions"] = torch.cat([state["source_positions"], torch.ones(2, 8)])
    wide.load_state_dict(state)
    read = torch.tensor([[BEGIN, 3, 4]]).expand(len(SOURCES), -1)
    padded = torch.nn.functional.pad(SOURCES, (0, 2))
    with torch.no_grad():
        logits = model.eval()(torch.cat([SOURCES, read], 1))
        torch.testing.assert_close(wide.eval()(torch.cat([padded, read], 1)), logits)
        other = torch.cat([SOURCES, read.clone().index_fill(1, torch.tensor([2]), 3)], 1)
        torch.testing.assert_close(model(other)[:, :2], logits[:, :2])


def test_samples_follow_the_models_distribution_and_end_once(model):
    torch.manual_seed(0)
    count, source = 4000, SOURCES[0]
    rows = sample_target(model, source.expand(count, -1), LENGTH).tolist()
    logs = {tuple(target): log_probability(model, source, target) for target in targets()}
    allowed = math.log(sum(map(math.exp, logs.values())))  # what is left once nothing begins or pads
    most = max(logs, key=lambda target: logs[target])
    share = sum(tuple(token for token in row if token != PADDING) == most for row in rows) / count
    assert {tuple(t for t in row if t != PADDING) for row in rows} <= set(logs)
    assert share >= math.exp(logs[most]) - 0.05
    assert allowed <= 0


def test_what_was_written_becomes_items_like_those_of_the_data():
    inputs = torch.cat([SOURCES[:2], torch.zeros(2, LENGTH, dtype=torch.long)], 1).float()
    tokens = torch.tensor([[4, END, PADDING], [3, 3, 4]])
    read, labels = as_targets(tokens, inputs, torch.zeros(2, LENGTH, dtype=torch.long))
    assert read.dtype == torch.float32
    assert read[:, :4].equal(inputs[:, :4])
    assert read[:, 4:].tolist() == [[BEGIN, 4, PADDING], [BEGIN, 3, 3]]
    assert labels.tolist() == [[4, END, -100], [3, 3, 4]]


def test_models_fit_their_task_and_refuse_others():
    info = DatasetInfo("text", "seq2seq", 20, (12,), 10, label_shape=(5,))
    check_model(mt_s, info)
    with pytest.raises(ValueError, match="seq2seq"):
        mt_s(DatasetInfo("text", "language-modeling", 20, (12,), 10, label_shape=(12,)))
