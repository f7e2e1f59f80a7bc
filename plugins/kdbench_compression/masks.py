"""Weights that are zero and stay zero."""

import torch
from torch import nn

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def prunable(model):
    """The weights of convolutions and linear layers, each once."""
    return list({id(m.weight): m.weight for m in model.modules() if isinstance(m, LAYERS)}.values())


class Masks:
    """Holds a model's pruned weights at zero, whatever trains it.

    The gradient of a pruned weight is masked by a hook on the parameter. With a zero gradient and no momentum, SGD,
    Adam and AdamW leave a zero weight where it is, so no layer is changed, and the pruned network is a plain one.
    """

    def __init__(self, model):
        self.weights = prunable(model)
        self.gone = [torch.zeros_like(weight, dtype=torch.bool) for weight in self.weights]
        for weight, gone in zip(self.weights, self.gone, strict=True):
            weight.register_hook(lambda gradient, gone=gone: gradient.masked_fill(gone, 0))

    @torch.no_grad()
    def prune(self, share, optimizer):
        """Set the smallest weights over all layers to zero, `share` of their number in all; forget their momentum."""
        magnitudes = torch.cat([weight.abs().flatten() for weight in self.weights])
        smallest = torch.argsort(magnitudes, stable=True)[: round(share * len(magnitudes))]
        chosen = torch.zeros_like(magnitudes, dtype=torch.bool)
        chosen[smallest] = True
        states = getattr(optimizer, "optimizer", optimizer).state
        sizes = [weight.numel() for weight in self.weights]
        for weight, gone, part in zip(self.weights, self.gone, chosen.split(sizes), strict=True):
            gone.copy_(part.view_as(gone))
            for value in (weight, *states.get(weight, {}).values()):
                if isinstance(value, torch.Tensor) and value.shape == gone.shape:
                    value.masked_fill_(gone, 0)
