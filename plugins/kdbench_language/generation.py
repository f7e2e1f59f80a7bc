"""Writing on: a causal language model's samples and its most probable continuations.

A model takes token indices (N, t), for any t up to its length, and returns logits (N, t, V). It is asked anew for every
token: nothing is kept of its attention.
"""

from contextlib import contextmanager


def prompt_length(share, length):
    """How many of `length` tokens are the prompt: the share, rounded, and one at least on either side."""
    return min(max(1, round(share * length)), length - 1)


def sample(model, prompts, length):
    """Continuations of the prompts (N, P) to (N, length), each token drawn from the model's distribution.

    It draws from torch's global stream, evaluation mode, no gradient.
    """
    import torch

    tokens = prompts.long()
    with _writing(model):
        while tokens.shape[1] < length:
            chances = model(tokens)[:, -1].float().softmax(-1)
            tokens = torch.cat([tokens, torch.multinomial(chances, 1)], 1)
    return tokens


def beam_search(model, prompts, length, beams):
    """The most probable continuation found for each prompt (N, P) with so many beams: (N, length). One beam is greedy.

    Evaluation mode, no gradient; all sequences are of one length, so that no score is normalised by it.
    """
    import torch

    tokens = prompts.long()[:, None]
    total = tokens.new_zeros(len(tokens), 1, dtype=torch.float32)
    with _writing(model):
        while tokens.shape[2] < length:
            chances = model(tokens.flatten(0, 1))[:, -1].float().log_softmax(-1).unflatten(0, tokens.shape[:2])
            vocabulary = chances.shape[-1]
            every = (total[..., None] + chances).flatten(1)
            total, best = every.topk(min(beams, every.shape[1]))
            parents = (best // vocabulary)[..., None].expand(-1, -1, tokens.shape[2])
            tokens = torch.cat([tokens.gather(1, parents), (best % vocabulary)[..., None]], 2)
    return tokens[:, 0]


def as_items(tokens, prompt, inputs, labels):
    """Written tokens (N, L) as items: inputs (N, L), and labels that ask for what follows the prompt alone.

    The last place asks for nothing, for nothing was written after it; nor does a place that asked for nothing in
    `labels`, the original ones. Inputs have the dtype of the original `inputs`.
    """
    asked = labels.new_full(labels.shape, -100)
    asked[:, prompt - 1 : -1] = tokens[:, prompt:]
    return tokens.to(inputs.dtype), asked.masked_fill(labels == -100, -100)


@contextmanager
def _writing(model):
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
