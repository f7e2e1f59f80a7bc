"""A learnt temperature."""

import math

import torch
from torch import Tensor, nn


class Temperature(nn.Module):
    """One temperature for all items: τ = lowest + span · sigmoid(θ), with the gradient of θ turned around by λ."""

    def __init__(self, initial: float, lowest: float, span: float) -> None:
        super().__init__()
        share = (initial - lowest) / span
        self.theta = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        self.lowest, self.span = lowest, span

    def forward(self, strength: float) -> Tensor:
        """The temperature, a scalar; its gradient reaches θ times −strength."""
        theta = self.theta.detach() - strength * (self.theta - self.theta.detach())
        return self.lowest + self.span * theta.sigmoid()
