"""What every compression method promises in training, on digits."""

from __future__ import annotations

import pytest
import torch
from compression_pairs import answers, made_up_pair
from row_formulas import mean_cross_entropy, soft_targets
from small_training import check_same, different
from torch import nn

import kdbench
from kdbench.method import Batch, Outputs
from kdbench.testing import check_method
from kdbench_compression.channels import PruneStructured
from kdbench_compression.combined import DistilThenQuantise, PruneThenDistil
from kdbench_compression.factors import LowRank
from kdbench_compression.integers import QuantAware, QuantDynamic, QuantStatic
from kdbench_compression.magnitude import PruneMagnitude
from kdbench_compression.teacher import FromTeacher

TRAINED = [
    (PruneMagnitude, {"sparsity": 0.9}),
    (PruneThenDistil, {"sparsity": 0.9}),
    (PruneStructured, {"alpha": 0.9}),
    (LowRank, {"alpha": 0.9}),
    (QuantAware, {"alpha": 0.9}),
    (DistilThenQuantise, {}),
]
UNTRAINED = [(QuantDynamic, {}), (QuantStatic, {})]


def skip_without_its_library(method):
    if method is PruneStructured:
        pytest.importorskip("torch_pruning", reason="structured pruning is an extra")


@pytest.mark.parametrize(("method", "params"), TRAINED + UNTRAINED)
def test_a_method_leaves_the_teacher_alone_trains_and_repeats_bit_for_bit(data, method, params):
    skip_without_its_library(method)
    done, repeated = (data.distil(method(**params), schedule="constant") for _ in range(2))
    check_same(done, repeated)
    assert different(done.teacher, data.teacher) == set()
    assert not any(parameter.requires_grad for parameter in done.teacher.parameters())
    first, again = done.trainer, repeated.trainer
    one, other = (trainer.method.finish(trainer) for trainer in (first, again))
    assert answers(one, data.validation.student).equal(answers(other, data.validation.student))
    if (method, params) in TRAINED:
        assert len(first.history) == 2
        assert first.steps == 2 * 17
        if method is not PruneMagnitude and method is not PruneThenDistil:  # theirs rises with every pruning
            assert first.history[1]["loss"] < first.history[0]["loss"]
        before = data.teacher if issubclass(method, FromTeacher) else data.pair(first.method).student.module
        assert not answers(first.student, data.validation.student).equal(answers(before, data.validation.student))
    else:
        assert first.history == []


@pytest.mark.parametrize(("method", "params"), TRAINED + UNTRAINED)
def test_each_keeps_the_promises_of_a_method(method, params):
    skip_without_its_library(method)
    check_method(method, **params)


def test_the_learning_rate_is_the_recipes_times_the_factor(data):
    for factor in (0.1, 1.0):
        trainer = data.distil(LowRank(lr_factor=factor), epochs=1, lr=0.02, schedule="constant").trainer
        assert trainer.history[0]["lr"] == pytest.approx(0.02 * factor)


@pytest.mark.parametrize("cls", [LowRank, PruneThenDistil, DistilThenQuantise])
@pytest.mark.parametrize("items", [1, 5])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_is_cross_entropy_and_hintons_soft_targets(cls, items, alpha):
    stream = torch.Generator().manual_seed(items)
    ours, theirs = (2 * torch.randn(items, 4, generator=stream, dtype=torch.float64) for _ in range(2))
    labels = torch.arange(items) % 3  # one class is absent
    inputs = torch.zeros(items, 1)
    batch = Batch(inputs, inputs, labels, torch.arange(items), 0.0, 0)
    expected = (1 - alpha) * mean_cross_entropy(ours.tolist(), labels.tolist())
    expected += alpha * soft_targets(ours.tolist(), theirs.tolist(), 2.5)
    method = cls(alpha=alpha, temperature=2.5)

    def loss(logits):
        return sum(method.loss(batch, Outputs(logits, {}, inputs), Outputs(theirs, {}, inputs)).values())

    assert float(loss(ours)) == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(loss, (ours.requires_grad_(),))
    assert method.needs.logits == (alpha > 0 or cls is DistilThenQuantise)


@pytest.mark.parametrize(
    ("method", "parameter", "value"),
    [
        (PruneMagnitude, "sparsity", 1), (PruneMagnitude, "prunings", 0), (PruneMagnitude, "ramp", 0),
        (PruneStructured, "ratio", 1.0), (LowRank, "rank_ratio", 0), (LowRank, "energy", 1.1),
        (LowRank, "scheme", "both"), (LowRank, "alpha", 1.5), (LowRank, "lr_factor", 0),
        (QuantStatic, "calibration", 0), (DistilThenQuantise, "scheme", "none"), (QuantDynamic, "alpha", 0.5),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(method, parameter, value):
    with pytest.raises(kdbench.InvalidParameter, match=parameter):
        method(**{parameter: value})


def test_what_a_library_raises_is_told_as_the_reason_of_a_refusal():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            raise ValueError("not today\nat all")

    with pytest.raises(kdbench.MethodRefused, match=r"'prune_magnitude' cannot compress .*\n  ValueError: not today\n"):
        PruneMagnitude().check(made_up_pair(Fails(), (3,)))
