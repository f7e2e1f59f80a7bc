"""Writing on: a causal language model's samples and its most probable continuations, and what an encoder-decoder says.

A model takes token indices (N, t), for any t up to its length, and returns logits (N, t, V). One that has
`read_on(tokens, past) -> (logits (N, V), past)`, as kdbench's own, reads each token once; any other reads everything
anew for every token that is written. `past` is a list of tuples of tensors, whose first dimension is N.

An encoder-decoder has `read_source(source (N, S)) -> memory` beside it, tensors like those of `past`, and
`read_on(tokens, past, memory)`, whose tokens are of as many rows for each source, side by side. It writes from its
BEGIN on to END; after END there is PADDING alone.
"""

from contextlib import contextmanager

from kdbench.data import BEGIN, END, PADDING


def prompt_length(share, length):
    """How many of `length` tokens are the prompt: the share, rounded, and one at least on either side."""
    return min(max(1, round(share * length)), length - 1)


def sample(model, prompts, length):
    """Continuations of the prompts (N, P) to (N, length), each token drawn from the model's distribution.

    It draws from torch's global stream, evaluation mode, no gradient.
    """
    with _writing(model) as writer:
        return _sampled(writer, prompts.long(), length)


def sample_target(model, sources, length):
    """What an encoder-decoder says to the sources (N, S), drawn from its distribution: (N, length), END among them."""
    with _writing(model, sources) as writer:
        return _sampled(writer, _beginnings(sources), length + 1, ends=True)[:, 1:]


def _sampled(writer, tokens, length, *, ends=False):
    import torch

    while tokens.shape[1] < length:
        chances = writer.logits(tokens)
        if ends:
            if bool(_ended(tokens).all()):
                return torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=PADDING)
            chances = _after_the_end(tokens, chances)
        tokens = torch.cat([tokens, torch.multinomial(chances.softmax(-1), 1)], 1)
    return tokens


def beam_search(model, prompts, length, beams, on_read=None):
    """The most probable continuation found for each prompt (N, P) with so many beams: (N, length). One beam is greedy.

    Evaluation mode, no gradient; all sequences are of one length, so that no score is normalised by it. `on_read` is
    told the rows of each step that the model reads.
    """
    with _writing(model, on_read=on_read) as writer:
        return _searched(writer, prompts.long(), length, beams)[0][:, 0]


def translate(model, sources, length, beams, normalise=1.0, on_read=None):
    """What an encoder-decoder says to the sources (N, S), at most `length` tokens: (N, length), padded after END.

    Of the beams at the end the one of the highest log-probability / tokens^normalise (END counts as one; Wu et al.,
    2016, eq. 14, with the plain length). One beam is greedy. `on_read` is told the rows of each step that the model
    reads.
    """
    import torch

    with _writing(model, sources, on_read) as writer:
        tokens, total = _searched(writer, _beginnings(sources), length + 1, beams, ends=True)
    written = (tokens[:, :, 1:] != PADDING).sum(-1)
    best = (total / written**normalise).argmax(1)
    return tokens[torch.arange(len(tokens), device=tokens.device), best, 1:]


def _searched(writer, prompts, length, beams, *, ends=False):
    """Every beam's tokens (N, beams, length), the most probable first, and their log-probabilities (N, beams).

    A prompt all of whose beams have ended is not read any further. Where there are fewer continuations than beams, the
    others have -inf.
    """
    import torch

    found = prompts.new_full((len(prompts), beams, length), PADDING)
    scores = found.new_full((len(prompts), beams), -float("inf"), dtype=torch.float32)
    tokens, total = prompts[:, None], scores.new_zeros(len(prompts), 1)
    going = torch.arange(len(prompts), device=prompts.device)
    while len(going):
        tokens, total, rows = _grown(writer, tokens, total, beams, ends)
        over = _ended(tokens).all(1) if ends else torch.zeros_like(going, dtype=torch.bool)
        over |= tokens.shape[2] == length
        if bool(over.any()):
            _, width, written = tokens.shape
            found[going[over], :width, :written], scores[going[over], :width] = tokens[over], total[over]
            tokens, total, going, rows = (each[~over] for each in (tokens, total, going, rows))
            writer.leave(over)
        writer.keep(rows.flatten())
    return found, scores


def _grown(writer, tokens, total, beams, ends):
    """The beams (N, beams, t + 1) one token longer, their log-probabilities, and the row of each one's beginning."""
    import torch

    items, rows = torch.arange(len(tokens), device=tokens.device)[:, None], tokens.flatten(0, 1)
    chances = writer.logits(rows).log_softmax(-1)
    if ends:
        chances = _after_the_end(rows, chances)
    every = (total[..., None] + chances.unflatten(0, tokens.shape[:2])).flatten(1)
    total, best = every.topk(min(beams, every.shape[1]))
    parents, token = best // chances.shape[-1], best % chances.shape[-1]
    return torch.cat([tokens[items, parents], token[..., None]], 2), total, items * tokens.shape[1] + parents


def _ended(tokens):
    return (tokens[..., -1] == END) | (tokens[..., -1] == PADDING)


def _beginnings(sources):
    return sources.new_full((len(sources), 1), BEGIN).long()


def _after_the_end(tokens, logits):
    """Logits (N, V) in which padding alone follows an end or padding, and never anything else; nothing begins anew."""
    ended = _ended(tokens)[:, None]
    logits = logits.masked_fill(ended, -float("inf"))
    logits[:, PADDING] = logits.new_zeros(()).expand(len(logits)).masked_fill(~ended[:, 0], -float("inf"))
    logits[:, BEGIN] = -float("inf")
    return logits


def as_items(tokens, prompt, inputs, labels):
    """Written tokens (N, L) as items: inputs (N, L), and labels that ask for what follows the prompt alone.

    The last place asks for nothing, for nothing was written after it; nor does a place that asked for nothing in
    `labels`, the original ones. Inputs have the dtype of the original `inputs`.
    """
    asked = labels.new_full(labels.shape, -100)
    asked[:, prompt - 1 : -1] = tokens[:, prompt:]
    return tokens.to(inputs.dtype), asked.masked_fill(labels == -100, -100)


def as_targets(tokens, inputs, labels):
    """Written targets (N, T) in place of the items' own: inputs (N, S + T), labels (N, T) that end with END."""
    import torch

    source = inputs[:, : -tokens.shape[1]]
    read = torch.cat([_beginnings(source), tokens[:, :-1]], 1)
    read = read.masked_fill(read == END, PADDING)
    return torch.cat([source, read.to(inputs.dtype)], 1), tokens.to(labels.dtype).masked_fill(tokens == PADDING, -100)


class _Writer:
    """What a model says comes next."""

    def __init__(self, model, sources, on_read):
        self._model, self._read_on, self._on_read = model, getattr(model, "read_on", None), on_read
        self._memory = () if sources is None else (model.read_source(sources),)
        self._past, self._read = None, 0

    def logits(self, tokens):
        """Logits (N, V) after tokens (N, t), whose first ones are those of the call before."""
        if self._on_read is not None:
            self._on_read(len(tokens))
        if self._read_on is None:
            return self._model(tokens)[:, -1].float()
        logits, self._past = self._read_on(tokens[:, self._read :], self._past, *self._memory)
        self._read = tokens.shape[1]
        return logits.float()

    def keep(self, rows):
        """Go on with these of the rows read so far, in this order."""
        import torch

        if self._past is not None and not torch.equal(rows, torch.arange(len(self._past[0][0]), device=rows.device)):
            self._past = [tuple(values[rows] for values in layer) for layer in self._past]

    def leave(self, over):
        """Go on without the sources where `over`, bool (N,), is true."""
        self._memory = tuple([tuple(values[~over] for values in layer) for layer in memory] for memory in self._memory)


@contextmanager
def _writing(model, sources=None, on_read=None):
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield _Writer(model, sources, on_read)
    finally:
        model.train(training)
