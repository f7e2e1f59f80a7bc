"""Taking channels out of a network with torch-pruning's dependency graph."""

import torch
import torch_pruning
from torch import nn

MAKERS = (torch_pruning.prune_conv_out_channels, torch_pruning.prune_linear_out_channels)


def narrowing(model, inputs, ratio, classes, steps):
    """What takes `ratio` of each layer's channels out of the model, in place, in equal parts at each of `steps` calls.

    Layers with an output for each class stay. The model may be trained between the calls, its modules not replaced.
    """
    pruner = torch_pruning.pruner.BasePruner(
        model.eval(),
        inputs,
        importance=filter_norms,
        pruning_ratio=ratio,
        iterative_steps=steps,
        ignored_layers=[m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == classes],
    )
    return pruner.step


@torch.no_grad()
def filter_norms(group):
    """The importance of each channel of a group: the L1 norms of the filters that make it, summed over its layers."""
    norms = None
    for number, (dependency, channels) in enumerate(group):
        if dependency.handler not in MAKERS:
            continue
        own = dependency.target.module.weight[channels].abs().flatten(1).sum(1)
        if norms is None:
            norms = own.new_zeros(len(group[0].idxs))
        norms.index_add_(0, torch.as_tensor(group[number].root_idxs, device=own.device), own)
    return norms
