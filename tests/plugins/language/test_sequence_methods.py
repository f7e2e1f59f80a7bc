"""gkd and seq_kd: what is written, the divergence over it, and both in training on text."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import token_formulas as formulas
import torch
from row_formulas import kl, softmax
from small_training import Trained, check_same, check_training
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.peers import ALONE
from kdbench.engine.signals import LiveTeacher, StoredTeacher
from kdbench.engine.teachers import teacher_source
from kdbench.engine.views import Views
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_language.generation import beam_search, prompt_length, sample
from kdbench_language.models import CausalTransformer
from kdbench_language.sequences import GeneralizedKd, SequenceLevel
from kdbench_language.tokens import WordLevel

VOCABULARY = 4


class Trigrams(nn.Module):
    """Logits (N, t, V) that depend on the last two tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(2 * torch.randn(VOCABULARY, VOCABULARY, VOCABULARY))
        self.modes: set[bool] = set()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.modes.add(self.training)
        self.calls += 1
        tokens = x.long()
        before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
        return self.table[before, tokens]

    def log_probability(self, tokens: list[int], prompt: int) -> float:
        total = 0.0
        for place in range(prompt - 1, len(tokens) - 1):
            row = self.table[tokens[place - 1] if place else 0, tokens[place]].tolist()
            total += math.log(softmax(row)[tokens[place + 1]])
        return total


@pytest.fixture
def model() -> Trigrams:
    return Trigrams()


PROMPTS = torch.tensor([[0, 1], [3, 2], [2, 2]])


def test_enough_beams_find_the_most_probable_continuation(model):
    found = beam_search(model, PROMPTS, 5, beams=VOCABULARY**2)
    for prompt, written in zip(PROMPTS.tolist(), found.tolist(), strict=True):
        every = [[*prompt, *rest] for rest in itertools.product(range(VOCABULARY), repeat=3)]
        assert written == max(every, key=lambda tokens: model.log_probability(tokens, 2))
    assert model.modes == {False}
    assert model.training


def test_one_beam_is_greedy_and_more_are_no_worse(model):
    greedy = beam_search(model, PROMPTS, 6, beams=1)
    for row in greedy.tolist():
        for place in range(1, 5):
            scores = model.table[row[place - 1], row[place]].tolist()
            assert row[place + 1] == scores.index(max(scores))
    better = beam_search(model, PROMPTS, 6, beams=64)
    for one, other in zip(greedy.tolist(), better.tolist(), strict=True):
        assert model.log_probability(other, 2) >= model.log_probability(one, 2) - 1e-9


def test_samples_follow_the_models_distribution_and_the_seed(model):
    prompts = PROMPTS[:1].expand(20_000, 2)
    torch.manual_seed(1)
    found = sample(model, prompts, 4)
    torch.manual_seed(1)
    assert sample(model, prompts, 4).equal(found)
    assert found[:, :2].equal(prompts)
    shares = torch.bincount(found[:, 2], minlength=VOCABULARY) / len(found)
    expected = torch.tensor(softmax(model.table[0, 1].tolist()))
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)
    assert model.modes == {False}
    assert model.training


class Forgetful(nn.Module):
    """The same model, reading everything anew for every token."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def test_a_model_that_keeps_what_it_has_read_writes_the_same():
    torch.manual_seed(0)
    model = CausalTransformer(vocabulary=7, length=12, width=8, layers=2, heads=2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    prompts = torch.randint(7, (4, 3))
    for beams in (1, 3):
        assert beam_search(model, prompts, 12, beams).equal(beam_search(Forgetful(model), prompts, 12, beams))
    written = []
    for each in (model, Forgetful(model)):
        torch.manual_seed(1)
        written.append(sample(each, prompts, 12))
    assert written[0].equal(written[1])
    logits, past = model.read_on(prompts, None)
    torch.testing.assert_close(logits, model(prompts)[:, -1])
    logits, past = model.read_on(prompts[:, :1], past)
    torch.testing.assert_close(logits, model(torch.cat([prompts, prompts[:, :1]], 1))[:, -1])
    assert [tuple(values.shape) for layer in past for values in layer] == [(4, 2, 4, 4)] * 4


@pytest.mark.parametrize(("share", "length", "expected"), [(0.25, 64, 16), (0.01, 64, 1), (0.99, 4, 3), (0.5, 2, 1)])
def test_a_prompt_leaves_something_to_write(share, length, expected):
    assert prompt_length(share, length) == expected


INPUTS = torch.tensor([[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 0, 0]]).double()
LABELS = torch.tensor([[1, 2, 3, 0, 1, 2], [2, 1, 0, -100, -100, -100]])


def make_batch() -> Batch:
    return Batch(INPUTS, INPUTS, LABELS, torch.arange(2), 0.5, 0)


def test_what_the_student_writes_asks_for_what_follows_its_prompt(model):
    written = GeneralizedKd(prompt=1 / 3).written(model, make_batch())
    tokens = written.inputs.long()
    assert written.teacher_inputs is written.inputs
    assert tokens[:, :2].equal(INPUTS[:, :2].long())
    assert written.labels.tolist() == [
        [-100, *tokens[0, 2:].tolist(), -100],
        [-100, *tokens[1, 2:4].tolist(), -100, -100, -100][:6],
    ]


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_the_divergence_is_the_generalised_jsd_over_tokens(beta):
    stream = torch.Generator().manual_seed(0)
    one, other = (torch.randn(2, 6, VOCABULARY, generator=stream, dtype=torch.float64) for _ in range(2))

    def jsd(p: list[float], q: list[float]) -> float:
        middle = formulas.mixture(p, q, beta)
        return beta * kl(p, middle) + (1 - beta) * kl(q, middle)

    method = GeneralizedKd(beta=beta, alpha=0.75)
    found = method.loss(make_batch(), Outputs(one, {}, one), Outputs(other, {}, other))
    assert found["kd"].item() == pytest.approx(0.75 * formulas.over_tokens(one, other, LABELS, jsd), rel=1e-9)
    assert found["ce"].item() == pytest.approx(0.25 * formulas.cross_entropy(one, LABELS), rel=1e-9)
    assert torch.autograd.gradcheck(
        lambda logits: method.divergence(logits, other, LABELS != -100), one.clone().requires_grad_()
    )


@pytest.mark.parametrize(("on_policy", "start"), [(0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.0)])
def test_the_share_of_written_batches_is_on_policy_from_the_start_on(topics, on_policy, start):
    method = GeneralizedKd(on_policy=on_policy, start=start)
    progress = []
    own = method.written
    method.written = lambda student, batch: progress.append(batch.progress) or own(student, batch)
    trainer = topics.distil(method).trainer
    assert trainer.teacher.forward_samples == trainer.samples, "one pass of the teacher a step"
    if on_policy in {0, 1}:
        assert len(progress) == on_policy * (1 - start) * trainer.steps
    else:
        assert 0 < len(progress) < trainer.steps
    assert all(value >= start for value in progress)


def test_without_the_divergence_no_step_is_spent_on_what_the_student_writes(topics):
    history = topics.distil(GeneralizedKd(alpha=0, on_policy=1, start=0)).trainer.history
    assert history[-1]["ce"] < history[0]["ce"]
    assert not any("kd" in row for row in history)


def test_gkd_trains_on_text(topics):
    check_training(topics, lambda: GeneralizedKd(start=0))


@pytest.mark.parametrize("beams", [1, 2])
def test_seq_kd_trains_on_what_the_teacher_wrote_once(topics, beams):
    made = lambda: SequenceLevel(beams=beams, prompt=0.75)  # noqa: E731
    found = check_training(topics, made)
    text = found.trainer.train_data
    assert text is topics.train, "the text is put back for a fine-tune"
    items = len(text.labels)
    assert found.trainer.teacher.forward_samples == items * (1 + beams * 15), "nothing but the writing"


def test_what_a_teacher_wrote_is_read_by_later_seeds_and_written_anew_by_another_teacher_or_setting(topics, tmp_path):
    def wrote(teacher: str, seed: int, **params) -> int:
        place = tmp_path / teacher
        place.mkdir(exist_ok=True)
        done = topics.distil(SequenceLevel(**{"beams": 1, "prompt": 0.75} | params), seed=seed, place=place)
        trained[teacher, seed] = done
        return done.trainer.teacher.forward_samples

    trained: dict[tuple[str, int], Trained] = {}
    once = wrote("one", 1)
    assert once == 16 * len(topics.train.labels)
    assert wrote("one", 2) == 0
    assert wrote("other", 2) == once
    check_same(trained["one", 2], trained["other", 2])
    assert wrote("one", 2, beams=2) > once
    assert wrote("one", 2, prompt=0.5) > once


def test_what_the_teacher_wrote_stands_in_the_texts_place(model):
    data = Views(INPUTS.float(), INPUTS.float(), LABELS)
    teacher = SimpleNamespace(module=model, forward_samples=0)
    method = SequenceLevel(beams=3, prompt=1 / 3)
    written = method.written(method.tokens(teacher, data), data)
    expected = beam_search(model, INPUTS[:, :2], 6, 3)
    assert written.student.dtype == data.student.dtype
    assert written.student.long().equal(expected)
    assert written.labels[0].tolist() == [-100, *expected[0, 2:].tolist(), -100]
    assert written.labels[1].tolist() == [-100, *expected[1, 2:4].tolist(), -100, -100, -100]
    assert teacher.forward_samples == 2 * (1 + 3 * 3)


@pytest.mark.parametrize("method", [GeneralizedKd(), SequenceLevel()])
def test_a_teacher_of_another_view_is_refused(method):
    info = DatasetInfo("two", "language-modeling", 4, (6,), 10, view="english")
    model = ModelInfo("model", nn.Identity())
    with pytest.raises(kdbench.MethodRefused, match="'spanish', the student's 'english'"):
        method.check(Pair(info, model, model, 1, 10, teacher_dataset=replace(info, view="spanish")))


@pytest.mark.parametrize(("method", "kind"), [(GeneralizedKd(), LiveTeacher), (WordLevel(), StoredTeacher)])
def test_the_teacher_runs_where_it_is_shown_other_inputs_than_the_datas(topics, tmp_path, method, kind):
    run = SimpleNamespace(combo=SimpleNamespace(teacher="lm-s"), recipe=topics.recipe)
    teacher = SimpleNamespace(module=topics.teacher, directory=tmp_path)
    source = teacher_source(run, method, teacher, topics.train, tuple, ALONE)
    assert isinstance(source, kind)
    assert source.module is topics.teacher
    source.close()
