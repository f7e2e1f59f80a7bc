"""What translations are worth: BLEU, chrF, and how fast they are written."""

from __future__ import annotations

import re
import time

import kdbench
from kdbench.data import END, PADDING

BATCH = 256
HAN = re.compile("[\u3400-\u9fff]")


def bleu(text="greedy"):
    """Corpus BLEU (Papineni et al., 2002) of sacreBLEU (Post, 2018), in [0, 100], of what the model writes.

    `text` is `greedy` or `beamN`. The references are the test split's targets. Where a Chinese character is among them
    sacreBLEU's tokenizer `zh` is used, else `13a`. Raises: InvalidParameter.
    """
    beams = beams_of("bleu", text)

    def metric(model, inputs, labels, *, info, shared):
        from sacrebleu import corpus_bleu

        written, references = _once(shared, model, inputs, labels, info.class_names, beams)
        chinese = any(HAN.search(reference) for reference in references)
        return corpus_bleu(written, [references], tokenize="zh" if chinese else "13a").score

    return metric


def chrf(text="greedy"):
    """Corpus chrF (Popović, 2015; characters up to 6, β = 2) of sacreBLEU, in [0, 100]. Raises: InvalidParameter."""
    beams = beams_of("chrf", text)

    def metric(model, inputs, labels, *, info, shared):
        from sacrebleu import corpus_chrf

        written, references = _once(shared, model, inputs, labels, info.class_names, beams)
        return corpus_chrf(written, [references]).score

    return metric


def tokens_per_second(text="greedy", clock=time.perf_counter):
    """How many tokens (of the target's vocabulary, END among them) the model writes in a second.

    In batches of 256 items of the test split, after one batch to warm up. Raises: InvalidParameter.
    """
    beams = beams_of("tokens_per_s", text)

    def metric(model, inputs, labels):
        _written(model, inputs[:BATCH], labels.shape[1], beams)
        started = clock()
        tokens = _written(model, inputs, labels.shape[1], beams)
        return int((tokens != PADDING).sum()) / (clock() - started)

    return metric


def _once(shared, model, inputs, labels, pieces, beams):
    """The translations, written once for all scores of the model."""
    key = "translations", beams
    if key not in shared:
        shared[key] = translations(model, inputs, labels, pieces, beams)
    return shared[key]


def translations(model, inputs, labels, pieces, beams):
    """What the model writes for each item, and what is right, as texts."""
    tokens = _written(model, inputs, labels.shape[1], beams)
    return tuple([text_of(row, pieces) for row in rows.tolist()] for rows in (tokens, labels))


def _written(model, inputs, length, beams):
    import torch

    from kdbench_language.generation import translate

    if not (hasattr(model, "read_source") and hasattr(model, "read_on")):
        raise kdbench.ModelMismatch(
            f"a {type(model).__name__} cannot write", "it has no read_source() and read_on()", "choose mt-s or mt-l"
        )
    parts = torch.split(inputs[:, :-length], max(1, BATCH // beams))
    return torch.cat([translate(model, part, length, beams) for part in parts])


def text_of(tokens, pieces):
    """The text of token indices up to END: SentencePiece's pieces, ▁ for a space, bytes as `<0xE4>`."""
    encoded = bytearray()
    for token in tokens:
        if token in (END, -100):
            break
        piece = pieces[token]
        byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
        encoded += bytes.fromhex(byte[1]) if byte else piece.encode()
    return encoded.decode(errors="replace").replace("▁", " ").strip()


def beams_of(name, text):
    """How many beams `greedy` or `beamN` asks for. Raises: InvalidParameter."""
    found = re.fullmatch(r"greedy|beam([1-9]\d?)", text)
    if found is None:
        raise kdbench.InvalidParameter(
            f"metric '{name}:{text}': {text!r} is no way to write", "known: greedy, beam2, beam4, ..., beam99",
            f"for example: --measure {name}:beam4",
        )  # fmt: skip
    return int(found[1] or 1)
