"""Structured pruning: which channels go, and that the networks of the zoo are really smaller."""

from __future__ import annotations

import pytest
import torch
from compression_pairs import answers, made_up_pair
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.cost import flops, parameters, stored_bytes
from kdbench.engine.evaluate import evaluate
from kdbench_models.mlp import linear, mlp_s
from kdbench_models.mobilenet import mobilenetv2
from kdbench_models.resnet import resnet8
from kdbench_models.shufflenet import shufflenetv2
from kdbench_models.wrn import wrn_16_1

pytest.importorskip("torch_pruning", reason="structured pruning is an extra: pip install 'kdbench[compression]'")

from kdbench_compression.channels import PruneStructured

SHAPE = (1, 8, 8)


def l1(rows: torch.Tensor) -> list[float]:
    return [sum(abs(value) for value in row.flatten().tolist()) for row in rows]


def kept(norms: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(norms)), key=lambda place: norms[place])[-count:])


def test_the_channels_of_smallest_l1_norm_go_with_all_that_belongs_to_them():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(6 * 16, 3)
    )
    nn.init.uniform_(model[1].weight)
    nn.init.uniform_(model[1].running_mean)
    small = PruneStructured(ratio=0.5).compressed(made_up_pair(model, SHAPE))
    first = kept(l1(model[0].weight), 4)
    second = kept(l1(model[3].weight), 3)
    assert small[0].weight.equal(model[0].weight[first])
    assert small[1].weight.equal(model[1].weight[first])
    assert small[1].running_mean.equal(model[1].running_mean[first])
    assert small[3].weight.equal(model[3].weight[second][:, first])
    columns = [channel * 16 + place for channel in second for place in range(16)]
    assert small[5].weight.equal(model[5].weight[:, columns])
    assert len(model[0].weight) == 8, "the teacher stays as it is"


class Added(nn.Module):
    """Two convolutions whose channels are added to each other."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.fc = nn.Conv2d(1, 6, 3), nn.Conv2d(1, 6, 3), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc((self.one(x) + self.other(x)).mean((2, 3)))


def test_layers_that_share_channels_lose_the_same_by_the_sum_of_their_norms():
    torch.manual_seed(1)
    model = Added()
    small = PruneStructured(ratio=0.5).compressed(made_up_pair(model, SHAPE))
    norms = [a + b for a, b in zip(l1(model.one.weight), l1(model.other.weight), strict=True)]
    assert kept(norms, 3) != kept(l1(model.one.weight), 3), "the case tells the two apart"
    for name in ("one", "other"):
        assert getattr(small, name).weight.equal(getattr(model, name).weight[kept(norms, 3)])


@pytest.mark.parametrize("build", [mlp_s, resnet8, wrn_16_1, mobilenetv2])
def test_networks_of_the_zoo_become_really_smaller(build):
    model = build(DatasetInfo("made up", "multiclass", 10, SHAPE, 100)).eval()
    pair = made_up_pair(model, SHAPE, classes=10)
    method = PruneStructured(ratio=0.5)
    method.check(pair)
    small = method.compressed(pair)
    inputs = torch.randn(3, *SHAPE)
    assert answers(small, inputs).shape == (3, 10)
    for measure in (parameters, stored_bytes):
        assert measure(small) < 0.6 * measure(model)
    assert flops(small, inputs[:1]) < 0.6 * flops(model, inputs[:1])
    assert all(parameter.requires_grad for parameter in small.parameters())


@pytest.mark.parametrize(
    ("build", "why"), [(shufflenetv2, "Error"), (linear, r"no channels that can be taken out at ratio=0\.5")]
)
def test_networks_that_cannot_be_cut_are_refused_by_name(build, why):
    model = build(DatasetInfo("made up", "multiclass", 10, SHAPE, 100)).eval()
    with pytest.raises(kdbench.MethodRefused, match=rf"'prune_structured' cannot compress this model\n.*{why}"):
        PruneStructured().check(made_up_pair(model, SHAPE, classes=10))


def test_the_smaller_network_trains_on(data):
    method = PruneStructured(ratio=0.25, alpha=0.5, lr_factor=1.0)
    trainer = data.trainer(method)
    cut = evaluate(method.compressed(trainer.pair), data.validation, trainer.fabric)
    method.fit(trainer)
    trainer.close()
    assert trainer.history[1]["loss"] < trainer.history[0]["loss"]
    assert trainer.history[1]["val_loss"] < cut["loss"]
    assert trainer.history[1]["val_accuracy"] > cut["accuracy"]
    assert parameters(trainer.student) < parameters(data.teacher)
