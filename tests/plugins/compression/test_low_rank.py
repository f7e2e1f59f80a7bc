"""Low-rank factorisation against NumPy's singular values and convolutions written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from compression_pairs import answers, made_up_pair
from torch import nn

import kdbench
from kdbench_compression.decompose import factorise, rank
from kdbench_compression.factors import LowRank


def best_of_rank(matrix: np.ndarray, r: int) -> np.ndarray:
    """Eckart & Young: the sum of the r first outer products."""
    u, s, v = np.linalg.svd(matrix)
    total = np.zeros_like(matrix)
    for k in range(r):
        total += s[k] * np.outer(u[:, k], v[k])
    return total


def test_a_linear_layer_becomes_the_best_product_of_its_rank():
    torch.manual_seed(0)
    layer = nn.Linear(12, 9).double()
    model = nn.Sequential(layer)
    assert factorise(model, 0.34, None, "channel", 3) == 1
    first, second = model[0]
    assert (first.weight.shape, second.weight.shape) == ((3, 12), (9, 3))
    assert first.bias is None
    expected = best_of_rank(layer.weight.detach().numpy(), 3)
    np.testing.assert_allclose((second.weight @ first.weight).detach().numpy(), expected, atol=1e-12)
    assert second.bias.equal(layer.bias)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((3, 3), 1, 1, 1), ((3, 3), 2, 1, 1), ((3, 5), (1, 2), (1, 2), (2, 1)), ((1, 1), 2, 0, 1)],
)
@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_a_convolution_of_low_rank_is_factorised_without_loss(kernel, stride, padding, dilation, scheme):
    """Filters made of few parts come back exactly: sizes, strides, paddings and dilations are the layer's."""
    torch.manual_seed(1)
    height, width = kernel
    layer = nn.Conv2d(6, 10, kernel, stride, padding, dilation).double()
    parts = 2
    if scheme == "spatial":
        left, right = torch.randn(10, width, parts).double(), torch.randn(parts, 6, height).double()
        layer.weight.data = torch.einsum("owr,rih->oihw", left, right)
    else:
        layer.weight.data = (torch.randn(10, parts).double() @ torch.randn(parts, 6 * height * width).double()).view(
            10, 6, height, width
        )
    inputs = torch.randn(2, 6, 11, 12).double()
    model = nn.Sequential(layer)
    expected = answers(model, inputs)
    assert factorise(model, 0.5, 1 - 1e-12, scheme, 3) == 1
    assert model[0][0].out_channels == parts
    torch.testing.assert_close(answers(model, inputs), expected, rtol=1e-9, atol=1e-9)


def test_the_spatial_scheme_is_the_best_of_its_rank():
    torch.manual_seed(2)
    layer = nn.Conv2d(4, 5, 3, bias=False).double()
    model = nn.Sequential(layer)
    factorise(model, 0.4, None, "spatial", 3)
    first, second = model[0]
    r = first.out_channels
    assert r == int(0.4 * 12)
    matrix = np.zeros((5 * 3, 4 * 3))
    made = np.zeros((5 * 3, 4 * 3))
    for o, i, h, w in itertools.product(range(5), range(4), range(3), range(3)):
        matrix[o * 3 + w, i * 3 + h] = layer.weight[o, i, h, w].item()
        made[o * 3 + w, i * 3 + h] = sum(
            second.weight[o, k, 0, w].item() * first.weight[k, i, h, 0].item() for k in range(r)
        )
    np.testing.assert_allclose(made, best_of_rank(matrix, r), atol=1e-12)


@pytest.mark.parametrize(
    ("singular", "ratio", "energy", "expected"),
    [
        ([3.0, 2.0, 1.0, 0.0], 0.5, None, 2),
        ([3.0, 2.0, 1.0, 0.0], 0.1, None, 1),
        ([3.0, 2.0, 1.0, 0.0], 0.5, 9 / 14, 1),  # squares 9, 4, 1, 0
        ([3.0, 2.0, 1.0, 0.0], 0.5, 0.65, 2),
        ([3.0, 2.0, 1.0, 0.0], 0.5, 1.0, 3),
        ([0.0, 0.0], 0.5, 0.9, 2),
    ],
)
def test_the_rank_is_a_share_of_the_full_one_or_what_keeps_the_energy(singular, ratio, energy, expected):
    assert rank(torch.tensor(singular, dtype=torch.float64), ratio, energy) == expected


def test_layers_that_would_not_become_smaller_stay_and_so_does_the_classifier():
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 64), nn.Linear(64, 3)
    )
    kept = [model[0], model[4]]
    assert factorise(model, 0.25, None, "channel", 3) == 2
    assert [model[0], model[4]] == kept
    assert sum(p.numel() for p in model[1].parameters()) < 8 * 8 * 9 + 8


def test_a_teacher_that_does_not_become_smaller_is_refused_with_the_rank():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    for params, shown in (({"rank_ratio": 0.9}, r"rank_ratio=0\.9"), ({"energy": 1.0}, "energy=1")):
        with pytest.raises(kdbench.MethodRefused, match=rf"'low_rank'.*\n.*becomes smaller at {shown}"):
            LowRank(**params).check(made_up_pair(model, (6,)))


def test_a_model_that_reads_its_layers_own_weights_is_refused_before_training():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.fc = nn.Linear(20, 20), nn.Linear(20, 3)

        def forward(self, x):
            return self.fc(nn.functional.linear(x, self.hidden.weight))

    with pytest.raises(kdbench.MethodRefused, match=r"'low_rank'.*\n.*AttributeError"):
        LowRank().check(made_up_pair(Reads(), (20,)))
