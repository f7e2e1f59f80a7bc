"""What the transformer methods share: which tokens count, heads, attention scores and masked means."""

import math

UNSEEN = -1e4
"""A score of exactly no weight after softmax that stays finite in every precision."""


def tokens_of(inputs, padding):
    """Which tokens are none of padding, bool (N, L), from token indices (N, L); all where `padding` is None."""
    import torch

    return torch.ones_like(inputs, dtype=torch.bool) if padding is None else inputs != padding


def seen_pairs(tokens, causal):
    """Which token (the last axis) each token may look at, bool (N, 1, L, L)."""
    seen = tokens[:, None, None, :].expand(-1, 1, tokens.shape[1], -1)
    return seen.tril() if causal else seen


def scores(one, other, heads):
    """Scaled dot products of two (N, L, D) by heads, (N, heads, L, L): of queries and keys, attention's scores."""
    one, other = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (one, other))
    return one @ other.transpose(-1, -2) / math.sqrt(one.shape[-1])


def masked_mean(values, mask):
    """The mean of the values where the mask, broadcast over them, is set; a scalar."""
    mask = mask.expand_as(values)
    return values.masked_fill(~mask, 0).sum() / mask.sum()
