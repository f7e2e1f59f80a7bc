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
        self.kept = [torch.ones_like(weight) for weight in self.weights]  # as numbers: a product is cheaper than a fill
        for weight, kept in zip(self.weights, self.kept, strict=True):
            weight.register_hook(lambda gradient, kept=kept: gradient * kept)

    @torch.no_grad()
    def prune(self, share, optimizer):
        """Set the smallest weights over all layers to zero, `share` of their number in all; forget their momentum."""
        magnitudes = torch.cat([weight.abs().flatten() for weight in self.weights])
        smallest = magnitudes.topk(round(share * len(magnitudes)), largest=False, sorted=False).indices
        chosen = torch.ones_like(magnitudes)
        chosen[smallest] = 0
        states = getattr(optimizer, "optimizer", optimizer).state
        sizes = [weight.numel() for weight in self.weights]
        for weight, kept, part in zip(self.weights, self.kept, chosen.split(sizes), strict=True):
            kept.copy_(part.view_as(kept))
            for value in (weight, *states.get(weight, {}).values()):
                if isinstance(value, torch.Tensor) and value.shape == kept.shape:
                    value.mul_(kept)
