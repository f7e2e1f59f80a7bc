"""shrink_distil: which channels go at each step, what each size learns from, and how long."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compression_pairs import made_up_pair
from small_training import check_same, different
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.cost import parameters
from kdbench.engine.evaluate import evaluate
from kdbench.testing import check_method
from kdbench_models.cnn import cnn_m, cnn_s
from kdbench_models.mlp import linear
from kdbench_models.resnet import resnet8

pytest.importorskip("torch_pruning", reason="structured pruning is an extra: pip install 'kdbench[compression]'")

from kdbench_compression.channels import PruneStructured
from kdbench_compression.shrinking import ShrinkDistil

SHAPE, STEPS = (1, 8, 8), 17


def largest(layer: nn.Conv2d, count: int) -> list[int]:
    norms = [sum(abs(value) for value in row.flatten().tolist()) for row in layer.weight]
    return sorted(sorted(range(len(norms)), key=lambda place: norms[place])[-count:])


def test_each_size_keeps_the_largest_channels_of_the_one_before_as_it_was_trained():
    torch.manual_seed(0)
    whole = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    model, narrow = ShrinkDistil(ratio=0.75, sizes=3).narrowing(made_up_pair(whole, SHAPE))
    for count in (6, 4, 2):
        kept, before = largest(model[0], count), model[0].weight.detach().clone()
        narrow()
        assert model[0].weight.equal(before[kept])
        with torch.no_grad():  # a training that turns the order round
            model[0].weight.mul_(torch.linspace(3, 1, count).view(-1, 1, 1, 1))
    assert len(whole[0].weight) == 8, "the teacher stays as it is"


@pytest.mark.parametrize("build", [cnn_s, cnn_m, resnet8])
@pytest.mark.parametrize(("ratio", "sizes"), [(0.5, 2), (0.5, 3), (0.3, 5)])
def test_the_last_size_is_that_of_prune_structured(build, ratio, sizes):
    pair = made_up_pair(build(DatasetInfo("made up", "multiclass", 10, SHAPE, 100)).eval(), SHAPE, classes=10)
    small = ShrinkDistil(ratio=ratio, sizes=sizes).compressed(pair)
    expected = PruneStructured(ratio=ratio).compressed(pair)
    assert [p.shape for p in small.parameters()] == [p.shape for p in expected.parameters()]


def test_every_size_is_trained_by_the_whole_teachers_soft_targets_and_the_last_for_all_epochs(data):
    method = ShrinkDistil(sizes=3, alpha=0.5, temperature=2.0, lr_factor=0.5)
    trainer = data.trainer(method, epochs=6, lr=0.02, schedule="constant")
    train_model, asked = trainer.train_model, []

    def watched(model: kdbench.ModelInfo, *purpose: object, method: Any, recipe: kdbench.Recipe) -> nn.Module:
        before = evaluate(model.module, data.validation, trainer.fabric)["loss"]
        trained = train_model(model, *purpose, method=method, recipe=recipe)
        after = evaluate(trained, data.validation, trainer.fabric)["loss"]
        asked.append((parameters(trained), recipe.epochs, recipe.lr, method.params, trainer.teacher.module))
        assert after < before
        return trained

    trainer.train_model = watched
    method.fit(trainer)
    trainer.close()
    sizes = [parameters(data.teacher), *(size for size, *_ in asked), parameters(trainer.student)]
    assert sizes == sorted(set(sizes), reverse=True)
    assert [each[1:] for each in asked] == 2 * [(2, 0.01, method.params, trainer.pair.teacher.module)]
    assert trainer.steps == (2 + 2 + 6) * STEPS
    assert trainer.history[0]["lr"] == pytest.approx(0.01)
    assert all({"ce", "kd"} <= set(row) for row in trainer.history)
    assert trainer.teacher_forward_samples >= 10 * (STEPS - 1) * 64, "in every size's training"
    assert different(trainer.pair.teacher.module, data.teacher) == set()


def test_it_learns_from_the_teacher_alone_and_repeats_bit_for_bit(data):
    done, again = (data.distil(ShrinkDistil(alpha=1.0, lr_factor=1.0), epochs=3) for _ in range(2))
    check_same(done, again)
    cut = ShrinkDistil().compressed(done.trainer.pair)
    scores = [evaluate(model, data.validation, done.trainer.fabric)["accuracy"] for model in (cut, done.student)]
    assert scores[1] > scores[0] + 0.1


def test_a_network_without_channels_to_take_out_is_refused_by_name():
    model = linear(DatasetInfo("made up", "multiclass", 10, SHAPE, 100)).eval()
    with pytest.raises(kdbench.MethodRefused, match=r"'shrink_distil' cannot compress .*\n.*no channels"):
        ShrinkDistil().check(made_up_pair(model, SHAPE, classes=10))


@pytest.mark.parametrize(("name", "value"), [("sizes", 1), ("ratio", 1.0), ("alpha", 1.5)])
def test_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(kdbench.InvalidParameter, match=name):
        ShrinkDistil(**{name: value})


def test_it_keeps_the_promises_of_a_method():
    check_method(ShrinkDistil, sizes=2)
