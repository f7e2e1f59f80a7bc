"""Distillation on written text: what the student writes, and what the teacher writes."""

from dataclasses import replace
from typing import Annotated

import kdbench
from kdbench_language.generation import (
    as_items,
    as_targets,
    beam_search,
    prompt_length,
    sample,
    sample_target,
    translate,
)
from kdbench_language.tokens import TokenDistillation

Share = Annotated[float, kdbench.Meta(gt=0, lt=1)]
Prompt = Annotated[Share, kdbench.Search(fixed=True, why="it says how much of the text is written anew")]
_WRITING = 1
"""Version of how the teacher writes; another number and it writes anew."""


def check_writing(name, pair):
    """Refuse views that differ: a continuation is of the text that both models read."""
    other = pair.teacher_dataset or pair.dataset
    if other.view != pair.dataset.view:
        raise kdbench.MethodRefused(
            f"method {name!r} cannot serve this pair: one model writes what the other reads",
            f"the teacher's view is {other.view!r}, the student's {pair.dataset.view!r}",
            f"--set teacher_view={pair.dataset.view}",
        )


def check_writer(name, pair, writer):
    """Refuse an encoder-decoder that cannot be asked to write."""
    if pair.dataset.task == "seq2seq" and not hasattr(writer.module, "read_source"):
        raise kdbench.MethodRefused(
            f"method {name!r} cannot serve this pair: {writer.name!r} cannot write",
            "it has no read_source(source)",
            "choose kdbench's translation models: kdbench list students",
        )


class GeneralizedKd(TokenDistillation):
    """Generalised knowledge distillation (Agarwal et al., 2024, GKD, sec. 3, algorithm 1, JSD_β by eq. 1).

    (1−α)·CE + α·JSD_β, β·KL(p_t ‖ m) + (1−β)·KL(p_s ‖ m) with m = β·p_t + (1−β)·p_s. With probability `on_policy` (the
    paper's λ) a batch is written on by the student first: of each item the first `prompt` is kept, the rest sampled at
    temperature 1, no gradient through the sampling, and the divergence is taken over what was written, without CE. A
    step has one pass of the teacher either way. The paper's student has learnt the task before; here it writes once
    `start` of the training is done. α, `prompt` and `start` are our choice. Of a seq2seq task the source is what is
    kept, and the whole target is written.
    """

    needs = kdbench.needs(logits=True, live=True)
    tasks = kdbench.TOKEN_TASKS
    beta: Annotated[Share, kdbench.Search(0.1, 0.9)] = 0.5
    on_policy: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.5
    prompt: Prompt = 0.25
    start: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.25

    def check(self, pair):
        """Refuse views that differ."""
        check_writing("gkd", pair)
        check_writer("gkd", pair, pair.student)

    def divergence(self, student, teacher, mask):
        """Generalised Jensen-Shannon divergence."""
        return kdbench.kernels.kd_divergence(student, teacher, kind="js", beta=self.beta, mask=mask)

    def step(self, trainer, batch):
        """One step, on the batch or on what the student makes of it."""
        import torch

        # Without the divergence there is nothing to learn from what is written.
        if not self.alpha or batch.progress < self.start or float(torch.rand(())) >= self.on_policy:
            return super().step(trainer, batch)
        written = self.written(trainer.student, batch)
        student, teacher = trainer.student_outputs(written), trainer.teacher_outputs(written)
        gap = self.divergence(student.logits, teacher.logits, written.labels != -100)
        return trainer.optimize({"kd": self.alpha * gap})

    def written(self, student, batch):
        """The batch with every item written on by the student after its prompt, or its source."""
        length = batch.labels.shape[1]
        if batch.task == "seq2seq":
            inputs, labels = as_targets(
                sample_target(student, batch.inputs[:, :-length], length), batch.inputs, batch.labels
            )
        else:
            prompt = prompt_length(self.prompt, length)
            tokens = sample(student, batch.inputs[:, :prompt], length)
            inputs, labels = as_items(tokens, prompt, batch.inputs, batch.labels)
        return replace(batch, inputs=inputs, teacher_inputs=inputs, labels=labels)


class SequenceLevel(kdbench.Method):
    """Sequence-level distillation (Kim & Rush, 2016, sec. 3.2): cross-entropy on what the teacher writes.

    Before the training the teacher writes on every train item after its first `prompt`, by beam search with `beams`
    (the paper's 5; 1 is greedy); the student then learns what was written in place of the text. It is the same for all
    seeds: the bank keeps it beside the teacher, and later runs read it. A language model has no source sentence, so its
    prompt stands for one; the share is our choice. Of a seq2seq task the teacher writes the target to every source.
    Beam search has little entropy: expect a better writer, and a worse perplexity on real text.
    """

    needs = kdbench.needs(logits=True, live=True)
    tasks = kdbench.TOKEN_TASKS
    beams: Annotated[int, kdbench.Meta(ge=1)] = 5
    prompt: Prompt = 0.25

    def check(self, pair):
        """Refuse views that differ."""
        check_writing("seq_kd", pair)
        check_writer("seq_kd", pair, pair.teacher)

    def fit(self, trainer):
        """Let the teacher write, then train on it; the validation split stays as it is."""
        data = trainer.train_data
        prompt = prompt_length(self.prompt, data.labels.shape[1]) if data.task != "seq2seq" else None
        kept = trainer.made_of_teacher(
            "written", [_WRITING, self.beams, prompt], lambda: {"tokens": self.tokens(trainer.teacher, data)}
        )
        trainer.train_data = self.written(kept["tokens"].to(data.labels.device), data)
        try:
            trainer.run_epochs()
        finally:
            trainer.train_data = data

    def tokens(self, teacher, data):
        """What the teacher's module writes after each prompt or source, (N, L) or (N, T); its passes are counted."""
        import torch

        length, most = data.labels.shape[1], max(1, 512 // self.beams)
        if data.task == "seq2seq":
            parts, write = torch.split(data.student[:, :-length], most), translate
        else:
            prompt = prompt_length(self.prompt, length)
            parts, write = torch.split(data.student[:, :prompt], most), beam_search

        def count(rows):
            teacher.forward_samples += rows

        return torch.cat([write(teacher.module, part, length, self.beams, on_read=count) for part in parts])

    def written(self, tokens, data):
        """The train split with these tokens in the place of its text, or of its targets."""
        if data.task == "seq2seq":
            inputs, labels = as_targets(tokens, data.student, data.labels)
        else:
            prompt = prompt_length(self.prompt, data.labels.shape[1])
            inputs, labels = as_items(tokens, prompt, data.student, data.labels)
        return replace(data, student=inputs, teacher=inputs, labels=labels)

    def step(self, trainer, batch):
        """One step on what the teacher wrote; the teacher has said all of it already."""
        return trainer.optimize({"ce": batch.cross_entropy(trainer.student_outputs(batch).logits)})
