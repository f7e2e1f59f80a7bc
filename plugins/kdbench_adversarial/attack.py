"""Projected gradient ascent at the input, for a whole batch at a time."""

from contextlib import contextmanager

import torch


def ascend(objective, inputs, *, eps, step_size, steps, noise=None):
    """Inputs (N, ...) moved within ±eps of where they were to where `objective` is large (Madry et al., 2018).

    Each of `steps` moves every coordinate by `step_size` up the slope of `objective(inputs) -> scalar`, a sum or mean
    over items, and projects it back to within `eps`. Starts at inputs + noise. No clipping to a range of valid inputs.
    """
    at = inputs.detach() if noise is None else (inputs + noise).detach()
    for _ in range(steps):
        at.requires_grad_()
        (slope,) = torch.autograd.grad(objective(at), at)
        at = inputs + (at.detach() + step_size * slope.sign() - inputs).clamp(-eps, eps)
    return at.detach()


@contextmanager
def evaluating(model):
    """The model in evaluation mode: an attack neither moves batch norm's statistics nor sees dropout."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
