"""Token-level methods: against their formulas, in training on text, and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import token_formulas as formulas
import torch
from row_formulas import kl
from small_training import check_training
from torch import Tensor

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.models import build_model
from kdbench.errors import ModelMismatch
from kdbench.method import Batch, Outputs
from kdbench.plan import make_plan
from kdbench.select import Selection
from kdbench.testing import check_dataset, check_method, check_model
from kdbench_language.data import ALPHABET, python_topics
from kdbench_language.models import lm_s
from kdbench_language.tokens import ReverseKl, SkewKl, WordLevel

CASES = [
    (WordLevel, {}, kl, 1.0),
    (WordLevel, {"alpha": 0.9, "temperature": 3.0}, kl, 3.0),
    (ReverseKl, {}, lambda p, q: kl(q, p), 1.0),
    (SkewKl, {}, lambda p, q: kl(p, formulas.mixture(p, q, 0.1)), 1.0),
    (SkewKl, {"skew": 0.4, "alpha": 0.5}, lambda p, q: kl(p, formulas.mixture(p, q, 0.4)), 1.0),
    (SkewKl, {"reverse": True}, lambda p, q: kl(q, formulas.mixture(q, p, 0.1)), 1.0),
]
LABELS = {
    "one token": torch.tensor([[2]]),
    "padding": torch.tensor([[1, 0, -100], [-100, 4, 4]]),
    "an item of padding": torch.tensor([[-100, -100], [3, 1], [0, 2]]),
    "items": torch.tensor([0, 3, 1]),
}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_batch(labels: Tensor) -> Batch:
    inputs = torch.zeros(labels.shape, dtype=torch.float64)
    return Batch(inputs, inputs, labels, torch.arange(len(labels)), 0.0, 0)


def losses(method: kdbench.Method, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return dict(method.loss(make_batch(labels), Outputs(student, {}, student), Outputs(teacher, {}, teacher)))


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize(("cls", "params", "divergence", "temperature"), CASES)
def test_the_divergence_is_the_mean_over_tokens_that_are_not_padding(cls, params, divergence, temperature, labels):
    student, teacher = randn(*labels.shape, 5), randn(*labels.shape, 5, seed=1)
    method = cls(**params)
    found = losses(method, student, teacher, labels)
    expected = temperature**2 * formulas.over_tokens(student, teacher, labels, divergence, temperature)
    assert found["kd"].item() == pytest.approx(method.alpha * expected, rel=1e-9)
    if method.alpha == 1:
        assert found.keys() == {"kd"}
    else:
        ce = (1 - method.alpha) * formulas.cross_entropy(student, labels)
        assert found["ce"].item() == pytest.approx(ce, rel=1e-9)


@pytest.mark.parametrize(("cls", "params", "divergence", "temperature"), CASES)
def test_padding_is_not_read_and_gets_no_gradient(cls, params, divergence, temperature):
    labels = LABELS["padding"]
    student, teacher = randn(2, 3, 5), randn(2, 3, 5, seed=1)
    known = sum(losses(cls(**params), student, teacher, labels).values())
    padding = labels == -100
    student[padding], teacher[padding] = torch.nan, torch.inf
    student.requires_grad_()
    method = cls(**params)
    mask = labels != -100
    loss = method.alpha * method.divergence(student, teacher, mask)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient[padding].eq(0).all()
    assert gradient[mask].abs().sum() > 0
    assert loss.item() <= known.item() + 1e-9


@pytest.mark.parametrize(("cls", "params", "divergence", "temperature"), CASES)
def test_equal_logits_have_no_divergence(cls, params, divergence, temperature):
    logits = randn(2, 3, 5)
    assert losses(cls(**params), logits, logits, LABELS["padding"])["kd"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("cls", "params", "divergence", "temperature"), CASES)
def test_the_students_gradient_is_that_of_the_loss(cls, params, divergence, temperature):
    teacher, labels, method = randn(2, 3, 4, seed=1), torch.tensor([[1, 0, -100], [-100, 3, 3]]), cls(**params)
    assert torch.autograd.gradcheck(
        lambda student: sum(losses(method, student, teacher, labels).values()), randn(2, 3, 4).requires_grad_()
    )


@pytest.mark.parametrize(
    ("cls", "params"), [(WordLevel, {}), (ReverseKl, {}), (SkewKl, {}), (SkewKl, {"reverse": True})]
)
def test_a_method_trains_on_text(topics, cls, params):
    check_training(topics, lambda: cls(**params))


@pytest.mark.parametrize("cls", [WordLevel, ReverseKl, SkewKl])
def test_a_method_serves_classifiers_too(cls):
    check_method(cls)


def test_the_topics_are_text_with_the_character_that_follows_each():
    check_dataset(lambda: python_topics(14_000))
    data = python_topics(14_000)
    both = data.labels != -100
    np.testing.assert_array_equal(data.labels[:, :-1][both[:, 1:]], data.inputs[:, 1:][both[:, 1:]])
    from pydoc_data.topics import topics

    first = topics[sorted(topics)[0]]
    own = data.groups == 0
    told = [data.classes[code] for code in data.labels[own][both[own]]]
    assert "".join(told) == "".join(c if c in ALPHABET else data.classes[-1] for c in first[1:])


def test_a_language_model_never_sees_what_follows():
    info = DatasetInfo("text", "language-modeling", 7, (9,), 10)
    check_model(lm_s, info)
    model = lm_s(info).eval()
    tokens = torch.randint(7, (2, 9))
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 7
    torch.testing.assert_close(model(tokens)[:, :5], model(changed)[:, :5])
    torch.testing.assert_close(model(tokens[:, :5]), model(tokens)[:, :5])
    assert not torch.allclose(model(tokens)[:, 5:], model(changed)[:, 5:])


def test_a_language_model_on_classes_is_refused_by_name():
    info = DatasetInfo("digits", "multiclass", 10, (1, 8, 8), 100)
    with pytest.raises(ModelMismatch, match=r"'lm-s'[\s\S]*needs a language-modeling task"):
        build_model(Entry("student", "lm-s", lm_s, "language"), info)


def test_a_run_on_text_is_recorded_with_its_perplexity(kdbench_command, tmp_path):
    result = kdbench_command(
        "run", "--dataset", "python-topics", "--teacher", "lm-s", "--student", "lm-s", "--method", "word_kd", "--seeds",
        "1", "--out", tmp_path, "--set", "recipe.epochs=1", "--set", "teacher_recipe.epochs=1",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (run,) = (tmp_path / "runs").iterdir()
    record = json.loads((run / "record.json").read_text())
    assert record["metrics"]["perplexity"] == pytest.approx(np.exp(record["metrics"]["log_loss"]))
    assert record["teacher_metrics"]["perplexity"] < 97
    with np.load(run / "predictions.npz") as kept:
        assert kept["predicted"].shape == kept["labels"].shape == kept["label_probabilities"].shape
        assert np.exp(-np.log(kept["label_probabilities"].astype(float)).mean()) == pytest.approx(
            record["metrics"]["perplexity"], rel=1e-4
        )
    assert "perplexity" in result.stdout


def test_methods_for_classes_are_refused_on_text_before_anything_runs(catalog):
    wanted = Selection(dataset=("python-topics",), teacher=("lm-s",), student=("lm-s",), method=("dkd",))
    with pytest.raises(kdbench.MethodRefused, match="task of dataset 'python-topics' is 'language-modeling'"):
        make_plan(catalog, wanted)
