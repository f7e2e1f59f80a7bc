"""The gradient methods in training, on digits."""

from __future__ import annotations

import pytest
import torch
from small_training import check_falls, check_training
from torch import nn

from kdbench.testing import check_method
from kdbench_features import memory
from kdbench_gradients.alignment import GradientAlignment
from kdbench_gradients.attention import AttentionFromGradients
from kdbench_gradients.jacobian import JacobianMatching
from kdbench_gradients.sobolev import Sobolev
from kdbench_models.mlp import mlp_s

METHODS = [
    (JacobianMatching, {}),
    (JacobianMatching, {"of": "teacher"}),
    (Sobolev, {}),
    (Sobolev, {"projections": 2, "of": "probabilities"}),
    (AttentionFromGradients, {}),
    (GradientAlignment, {}),
    (GradientAlignment, {"student_layer": "penultimate", "teacher_layer": "penultimate"}),
]


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_its_own_term_falls_and_the_teacher_stays(digits_bench, cls, params):
    done = check_training(digits_bench, lambda: cls(**params))
    first, last = done.history
    assert done.own_terms & first.keys() > {"kd"}
    assert last["val_accuracy"] > max(0.4, first["val_accuracy"])
    epochs = len(done.history) if cls is Sobolev else 1
    assert done.trainer.teacher.forward_samples == epochs * done.trainer.samples // len(done.history)
    assert not digits_bench.train.student.requires_grad


@pytest.mark.parametrize(("cls", "params"), [case for case in METHODS if case[0] is not Sobolev])
def test_what_is_remembered_of_the_teacher_is_what_it_would_say_again(digits_bench, monkeypatch, cls, params):
    remembered = digits_bench.distil(cls(**params), epochs=3)
    monkeypatch.setattr(memory, "MOST_BYTES", 0)
    asked = digits_bench.distil(cls(**params), epochs=3)
    assert asked.trainer.teacher.forward_samples == 3 * remembered.trainer.teacher.forward_samples
    for row, expected in zip(remembered.history, asked.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("cls", [JacobianMatching, AttentionFromGradients])
def test_of_augmented_inputs_nothing_is_remembered(digits_bench, cls):
    trainer = digits_bench.trainer(cls(), augment=("crop",))
    trainer.run_epochs()
    assert trainer.teacher.forward_samples == trainer.samples
    trainer.close()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("cls", [JacobianMatching, Sobolev])
def test_the_losss_own_gradient_at_the_inputs_is_not_computed(digits_bench, cls, precision):
    trainer = digits_bench.trainer(cls(), precision=precision)
    batch = next(iter(trainer.batches(0)))
    trainer.method.step(trainer, batch)
    assert batch.inputs.requires_grad
    assert batch.inputs.grad is None
    assert all(parameter.grad is not None for parameter in trainer.model.parameters())
    trainer.close()


def test_what_a_method_steps_itself_has_its_gradient_too(digits_bench):
    """Of a loss that is differentiated at the inputs as well."""

    class Scaled(JacobianMatching):
        def build(self, pair):
            super().build(pair)
            return nn.ParameterDict({name: nn.Parameter(torch.ones(1)) for name in ("own", "shared", "frozen")})

        def optimizers(self, pair):
            return {"own": torch.optim.SGD([self.module["own"], self.module["frozen"].requires_grad_(False)], lr=0.1)}

        def terms(self, batch, student, said):
            (found,) = super().terms(batch, student, said).values()
            return {"jacobian": found * self.module["own"].sum() * self.module["shared"].sum()}

    trainer = digits_bench.trainer(Scaled())
    trainer.method.step(trainer, next(iter(trainer.batches(0))))
    assert {name for name, value in trainer.method.module.items() if value.grad is not None} == {"own", "shared"}
    trainer.close()


def test_a_memory_knows_the_items_that_it_was_given():
    known = memory.Memory(5)
    first = torch.tensor([3, 0])
    assert known.of(first) is None
    known.keep(first, [torch.tensor([[3.0], [0.0]]), torch.tensor([30, 0])])
    found = known.of(torch.tensor([0, 3, 3]))
    assert [rows.tolist() for rows in found] == [[[0.0], [3.0], [3.0]], [0, 30, 30]]
    assert known.of(torch.tensor([0, 1])) is None


def test_a_network_without_maps_is_served_too(digits_bench):
    check_falls(digits_bench.distil(GradientAlignment(), mlp_s).history, {"alignment"})


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_each_keeps_the_promises_of_a_method(cls, params):
    if "student_layer" in params:
        params = {"student_layer": "pool", "teacher_layer": "stage2"}
    elif cls in {AttentionFromGradients, GradientAlignment}:
        params = {"student_layer": "stage1", "teacher_layer": "stage2"}
    check_method(cls, **params)
