"""int8 models, by torch's quantisation of traced graphs; their layers run integer kernels.

torch announces that this interface will go; torchao's successor computes in int8 only once torch.compile has lowered
the graph. The warnings that are silenced here are about that, and not about the model at hand.
"""

import copy
import warnings

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.quantization import quantize_fx

BATCH = 256


def dynamic(model):
    """A copy whose linear layers have int8 weights and quantise what they read."""
    with warnings.catch_warnings(action="ignore"):
        return ao.quantize_dynamic(copy.deepcopy(model).eval(), {nn.Linear}, dtype=torch.qint8)


@torch.no_grad()
def static(model, inputs):
    """A copy in int8, whose activations have the ranges that the inputs (N, ...) show."""
    with warnings.catch_warnings(action="ignore"):
        mapping = ao.get_default_qconfig_mapping(torch.backends.quantized.engine)
        observed = quantize_fx.prepare_fx(copy.deepcopy(model).eval(), mapping, (inputs[:2],))
        for part in inputs.split(BATCH):
            observed(part)
        return Integers(quantize_fx.convert_fx(observed))


def calibrated(trainer, items):
    """The trainer's student in int8, calibrated on so many of its training items, drawn by the seed."""
    inputs = trainer.train_data.student
    chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(trainer.seed))[:items]
    return static(trainer.student, inputs[chosen.to(inputs.device)])


class Integers(nn.Module):
    """An int8 model that also runs where torch is asked for determinism.

    torch then refuses its quantised linear layer, which resizes an output before it writes all of it: the refusal is
    for the resizing alone, the results are the same bits every time. The switch is torch's own underneath the public
    one, which takes longer than a small model does.
    """

    def __init__(self, graph):
        super().__init__()
        self.graph = graph

    def forward(self, x):
        """Logits."""
        if not torch.are_deterministic_algorithms_enabled():
            return self.graph(x)
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch._C._set_deterministic_algorithms(False)
        try:
            return self.graph(x)
        finally:
            torch._C._set_deterministic_algorithms(True, warn_only=warn_only)


class Simulated(nn.Module):
    """A model that rounds as int8 will. The ranges follow the batches in training; evaluation leaves them alone."""

    def __init__(self, model, inputs):
        super().__init__()
        with warnings.catch_warnings(action="ignore"):
            mapping = ao.get_default_qat_qconfig_mapping(torch.backends.quantized.engine)
            self.graph = quantize_fx.prepare_qat_fx(model.train(), mapping, (inputs,))

    def forward(self, x):
        """Logits of the rounded model."""
        return self.graph(x)

    def train(self, mode=True):
        """Training mode observes, evaluation does not."""
        self.graph.apply(ao.enable_observer if mode else ao.disable_observer)
        return super().train(mode)

    def converted(self):
        """The int8 model."""
        with warnings.catch_warnings(action="ignore"):
            return Integers(quantize_fx.convert_fx(copy.deepcopy(self.graph).eval()))


@torch.no_grad()
def tried(model, inputs, kind):
    """What a quantised copy of the model says of inputs (N, ...); raises whatever torch raises."""
    if kind == "dynamic":
        return dynamic(model)(inputs)
    if kind == "static":
        return static(model, inputs)(inputs)
    simulated = Simulated(copy.deepcopy(model), inputs)
    simulated(inputs)
    return simulated.converted()(inputs)
