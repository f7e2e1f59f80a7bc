"""Writing on: a causal language model's samples and its most probable continuations.

A model takes token indices (N, t), for any t up to its length, and returns logits (N, t, V). One that has
`read_on(tokens, past) -> (logits (N, V), past)`, as kdbench's own, reads each token once; any other reads everything
anew for every token that is written. `past` is a list of tuples of tensors, whose first dimension is N.
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
    with _writing(model) as writer:
        while tokens.shape[1] < length:
            chances = writer.logits(tokens).softmax(-1)
            tokens = torch.cat([tokens, torch.multinomial(chances, 1)], 1)
    return tokens


def beam_search(model, prompts, length, beams):
    """The most probable continuation found for each prompt (N, P) with so many beams: (N, length). One beam is greedy.

    Evaluation mode, no gradient; all sequences are of one length, so that no score is normalised by it.
    """
    import torch

    tokens = prompts.long()[:, None]
    total = tokens.new_zeros(len(tokens), 1, dtype=torch.float32)
    items = torch.arange(len(tokens), device=tokens.device)[:, None]
    with _writing(model) as writer:
        while tokens.shape[2] < length:
            chances = writer.logits(tokens.flatten(0, 1)).log_softmax(-1).unflatten(0, tokens.shape[:2])
            vocabulary = chances.shape[-1]
            every = (total[..., None] + chances).flatten(1)
            total, best = every.topk(min(beams, every.shape[1]))
            parents = best // vocabulary
            writer.keep((items * tokens.shape[1] + parents).flatten())
            tokens = torch.cat([tokens[items, parents], (best % vocabulary)[..., None]], 2)
    return tokens[:, 0]


def as_items(tokens, prompt, inputs, labels):
    """Written tokens (N, L) as items: inputs (N, L), and labels that ask for what follows the prompt alone.

    The last place asks for nothing, for nothing was written after it; nor does a place that asked for nothing in
    `labels`, the original ones. Inputs have the dtype of the original `inputs`.
    """
    asked = labels.new_full(labels.shape, -100)
    asked[:, prompt - 1 : -1] = tokens[:, prompt:]
    return tokens.to(inputs.dtype), asked.masked_fill(labels == -100, -100)


class _Writer:
    """What a model says comes next."""

    def __init__(self, model):
        self._model, self._read_on = model, getattr(model, "read_on", None)
        self._past, self._read = None, 0

    def logits(self, tokens):
        """Logits (N, V) after tokens (N, t), whose first ones are those of the call before."""
        if self._read_on is None:
            return self._model(tokens)[:, -1].float()
        logits, self._past = self._read_on(tokens[:, self._read :], self._past)
        self._read = tokens.shape[1]
        return logits.float()

    def keep(self, rows):
        """Go on with these of the rows read so far, in this order."""
        if self._past is not None:
            self._past = [tuple(values[rows] for values in layer) for layer in self._past]


@contextmanager
def _writing(model):
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield _Writer(model)
    finally:
        model.train(training)
