"""Layers replaced by two of lower rank, from the singular value decomposition of their weights."""

import math

import torch
from torch import nn


def factorise(model, rank_ratio, energy, scheme, classes):
    """Replace the layers that become smaller, in place, but for the last one; how many there were."""
    replaced = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear) and layer.out_features == classes:
                continue
            pair = _factors(layer, rank_ratio, energy, scheme)
            if pair is not None:
                setattr(parent, name, nn.Sequential(*pair).train(layer.training))
                replaced += 1
    return replaced


def rank(singular, rank_ratio, energy):
    """The rank to keep: a share of the number of singular values, or what keeps a share of their squares."""
    if energy is None:
        return max(1, math.floor(rank_ratio * len(singular)))
    squares = singular.double().square()
    kept = squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return min(len(singular), 1 + int((kept < energy).sum()))


def _factors(layer, rank_ratio, energy, scheme):
    if isinstance(layer, nn.Linear):
        return _linear(layer, rank_ratio, energy)
    if isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros":
        if layer.kernel_size == (1, 1) or scheme == "channel":
            return _channel(layer, rank_ratio, energy)
        if not isinstance(layer.padding, str):
            return _spatial(layer, rank_ratio, energy)
    return None


def _split(matrix, rank_ratio, energy):
    """Factors (rows, r) and (r, columns), whose product is the best approximation of rank r; None if no smaller."""
    u, s, v = torch.linalg.svd(matrix.detach().double(), full_matrices=False)
    r = rank(s, rank_ratio, energy)
    if r * sum(matrix.shape) >= matrix.numel():
        return None
    root = s[:r].sqrt()
    return (u[:, :r] * root).to(matrix.dtype), (root[:, None] * v[:r]).to(matrix.dtype)


def _linear(layer, rank_ratio, energy):
    split = _split(layer.weight, rank_ratio, energy)
    if split is None:
        return None
    left, right = split
    first = nn.Linear(layer.in_features, len(right), bias=False, device=left.device, dtype=left.dtype)
    second = nn.Linear(
        len(right), layer.out_features, bias=layer.bias is not None, device=left.device, dtype=left.dtype
    )
    return _filled(layer, (first, right), (second, left))


def _channel(layer, rank_ratio, energy):
    out = layer.out_channels
    split = _split(layer.weight.reshape(out, -1), rank_ratio, energy)
    if split is None:
        return None
    left, right = split
    r = len(right)
    first = _convolution(
        layer, layer.in_channels, r, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False
    )
    second = _convolution(layer, r, out, 1, 1, 0, 1, bias=layer.bias is not None)
    return _filled(layer, (first, right.view_as(first.weight)), (second, left.view_as(second.weight)))


def _spatial(layer, rank_ratio, energy):
    out, inputs, height, width = layer.weight.shape
    matrix = layer.weight.permute(0, 3, 1, 2).reshape(out * width, inputs * height)
    split = _split(matrix, rank_ratio, energy)
    if split is None:
        return None
    left, right = split
    r = len(right)
    (tall, wide), (down, across), (rows, columns) = layer.stride, layer.padding, layer.dilation
    first = _convolution(layer, inputs, r, (height, 1), (tall, 1), (down, 0), (rows, 1), bias=False)
    second = _convolution(layer, r, out, (1, width), (1, wide), (0, across), (1, columns), bias=layer.bias is not None)
    across_weight = left.reshape(out, width, r).permute(0, 2, 1).unsqueeze(2)
    return _filled(layer, (first, right.view_as(first.weight)), (second, across_weight))


def _convolution(like, inputs, outputs, kernel, stride, padding, dilation, *, bias):
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding, dilation, bias=bias, device=like.weight.device,
        dtype=like.weight.dtype,
    )  # fmt: skip


@torch.no_grad()
def _filled(layer, first, second):
    for made, weight in (first, second):
        made.weight.copy_(weight)
    if layer.bias is not None:
        second[0].bias.copy_(layer.bias)
    return first[0], second[0]
