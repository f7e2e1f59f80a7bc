"""Objectives between two transformers: hidden states, embeddings, attention; DistilBERT, TinyBERT and MiniLM."""

from typing import Annotated, ClassVar

import kdbench
from kdbench_language.attention import UNSEEN, masked_mean, scores, seen_pairs, tokens_of

LayerNumbers = Annotated[tuple[Annotated[int, kdbench.Meta(ge=1)], ...], kdbench.Meta(min_length=1)]


class Transformers(kdbench.Method):
    """The frame: what a pair must be, and which of its tokens count.

    Both models name their features in `feature_layers`: `embeddings`, `stage1`..., and each layer's `query1`, `key1`,
    `value1`..., those of the last also as `query`, `key`, `value`; all (N, L, D) before the heads are split, whose
    number is the model's `attention_heads`. A model's `padding_index`, if it has one, is the token that pads, and
    `causal` says that no token looks ahead. kdbench's own language models and `transformers:` are such models.
    """

    tasks = ("language-modeling", "binary", "multiclass")
    name: ClassVar[str]
    reads_heads: ClassVar[bool] = False

    def check(self, pair):
        """Refuse models that are no transformers of one length, or whose heads differ in number where they matter."""
        features = [*pair.student.features.items(), *pair.teacher.features.items()]
        if any(len(shape) != 2 for _, shape in features) or len({shape[0] for _, shape in features}) != 1:
            self._refuse(
                "it needs hidden states (L, D) of one length L from both models",
                f"they are {', '.join(f'{feature} {shape}' for feature, shape in features)}",
            )
        heads = [getattr(model.module, "attention_heads", None) for model in (pair.student, pair.teacher)]
        if self.reads_heads and (heads[0] is None or heads[0] != heads[1]):
            self._refuse(
                "it compares attention head by head",
                f"student {pair.student.name!r} has {heads[0]} heads, teacher {pair.teacher.name!r} has {heads[1]}",
            )

    def _refuse(self, what, why, fix="choose other models: kdbench list students"):
        raise kdbench.MethodRefused(f"method {self.name!r} cannot serve this pair: {what}", why, fix)

    def build(self, pair):
        """Remembers what the models say of themselves; a subclass adds its projections."""
        model = pair.student.module
        self._heads = getattr(model, "attention_heads", None)
        self._padding, self._causal = getattr(model, "padding_index", None), getattr(model, "causal", False)
        return self.projections(pair)

    def projections(self, pair):
        """The method's linear maps from the student's width to the teacher's."""
        return None

    def tokens(self, batch):
        """Which of the batch's tokens are not padding, bool (N, L)."""
        return tokens_of(batch.inputs, self._padding)

    def soft_labels(self, batch, student, teacher, temperature):
        """T²·KL between the logits: over items, or over the tokens that are not padding."""
        mask = self.tokens(batch) if student.logits.ndim == 3 else None
        return kdbench.kernels.kd_kl(student.logits, teacher.logits, temperature, mask=mask)


def _linear(student, teacher):
    from torch import nn

    return nn.Linear(student[-1], teacher[-1], bias=False)


class DistilBert(Transformers):
    """DistilBERT's triple loss (Sanh et al., 2019, sec. 3; weights and T as its authors trained with).

    soft · T²·KL(p_t^T ‖ p_s^T) + labels · CE + cosine · mean over tokens of (1 − cos(h_s, h_t)), h the last hidden
    states. CE is the (masked) language model's where the task is language modeling, its masked tokens those with a
    label; the classifier's otherwise. Where the widths differ h_s is mapped linearly (the paper's do not).
    """

    name = "distilbert"
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 2.0
    soft: Annotated[float, kdbench.Meta(ge=0)] = 5.0
    labels: Annotated[float, kdbench.Meta(ge=0)] = 2.0
    cosine: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    needs = kdbench.needs(logits=True, features=["last"])

    def projections(self, pair):
        """The map between widths that differ."""
        from torch import nn

        shapes = pair.student.features["last"], pair.teacher.features["last"]
        return nn.Identity() if shapes[0] == shapes[1] else _linear(*shapes)

    def loss(self, batch, student, teacher):
        """The three terms."""
        from torch.nn.functional import cosine_similarity

        alike = cosine_similarity(self.module(student.features["last"]), teacher.features["last"], dim=-1)
        return {
            "kd": self.soft * self.soft_labels(batch, student, teacher, self.temperature),
            "ce": self.labels * batch.cross_entropy(student.logits),
            "cosine": self.cosine * masked_mean(1 - alike, self.tokens(batch)),
        }


class TinyBert(Transformers):
    """TinyBERT's transformer distillation (Jiao et al., 2020, sec. 3.1, eq. 7-10), its two stages in one training.

    The first `intermediate` of it: weight · (MSE(E_s·W_e, E_t) of the embeddings + the sum over layer pairs of
    MSE(H_s·W_h, H_t) of the hidden states and of the heads' mean MSE of attention scores QKᵀ/√d before softmax). Then
    the soft cross-entropy with the teacher's answers at temperature T, as T²·KL (the difference is a constant). Labels
    are not read. Means are over tokens that are not padding. student_layers[n] learns from teacher_layers[n], counted
    from 1; the paper spaces them evenly, and these defaults are for two layers and four. That both stages take half of
    the training is our choice.
    """

    name = "tinybert"
    reads_heads = True
    student_layers: LayerNumbers = (1, 2)
    teacher_layers: LayerNumbers = (2, 4)
    weight: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    intermediate: Annotated[float, kdbench.Meta(ge=0, lt=1)] = 0.5

    @property
    def needs(self):
        """Embeddings, and the chosen layers' hidden states, queries and keys."""
        student, teacher = (
            ["embeddings", *(f"{part}{n}" for n in layers for part in ("stage", "query", "key"))]
            for layers in (self.student_layers, self.teacher_layers)
        )
        return kdbench.needs(logits=True, student_features=student, teacher_features=teacher)

    def check(self, pair):
        """Refuse layers that do not pair up too."""
        if len(self.student_layers) != len(self.teacher_layers):
            self._refuse(
                "its layers do not pair up",
                f"student {self.student_layers}, teacher {self.teacher_layers}",
                "name as many of each: --set tinybert.student_layers=1,2 --set tinybert.teacher_layers=2,4",
            )
        super().check(pair)

    def projections(self, pair):
        """W_e, and the W_h of all layers."""
        from torch import nn

        student, teacher = pair.student.features, pair.teacher.features
        last = f"stage{self.student_layers[0]}", f"stage{self.teacher_layers[0]}"
        return nn.ModuleDict(
            {
                "embeddings": _linear(student["embeddings"], teacher["embeddings"]),
                "hidden": _linear(student[last[0]], teacher[last[1]]),
            }
        )

    def may_choose(self, trainer):
        """In the second stage, which learns answers."""
        return len(trainer.history) > self.intermediate * trainer.recipe.epochs

    def loss(self, batch, student, teacher):
        """The stage's terms."""
        if batch.progress >= self.intermediate:
            return {"kd": self.soft_labels(batch, student, teacher, self.temperature)}
        one, other, tokens = student.features, teacher.features, self.tokens(batch)
        rows = tokens[:, :, None]
        pairs = seen_pairs(tokens, self._causal) & tokens[:, None, :, None]
        hidden = attention = 0
        for n, m in zip(self.student_layers, self.teacher_layers, strict=True):
            gap = self.module["hidden"](one[f"stage{n}"]) - other[f"stage{m}"]
            hidden = hidden + masked_mean(gap.square(), rows)
            gap = scores(one[f"query{n}"], one[f"key{n}"], self._heads) - scores(
                other[f"query{m}"], other[f"key{m}"], self._heads
            )
            attention = attention + masked_mean(gap.square(), pairs)
        gap = self.module["embeddings"](one["embeddings"]) - other["embeddings"]
        embeddings = masked_mean(gap.square(), rows)
        terms = {"embeddings": embeddings, "hidden": hidden, "attention": attention}
        return {name: self.weight * value for name, value in terms.items()}


class MiniLm(Transformers):
    """MiniLM's deep self-attention distillation (Wang et al., 2020, sec. 3, eq. 6-10).

    ce · CE + weight · (KL of the last layers' attention distributions + KL of their value relations
    softmax(V·Vᵀ/√d)), both from the teacher's to the student's, means over heads and tokens that are not padding. The
    numbers of heads must agree, the widths need not. The paper trains without labels and fine-tunes afterwards: ce=0,
    with the recipe's final fine-tune.
    """

    name = "minilm"
    reads_heads = True
    needs = kdbench.needs(features=["query", "key", "value"])
    weight: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    ce: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    @property
    def learns_answers(self):
        """By cross-entropy alone."""
        return self.ce > 0

    def loss(self, batch, student, teacher):
        """Both divergences, and weighted cross-entropy."""
        tokens = self.tokens(batch)
        terms = {"ce": self.ce * batch.cross_entropy(student.logits)} if self.ce else {}
        for term, parts in (("attention", ("query", "key")), ("values", ("value", "value"))):
            one, other = (self._relation(outputs.features, parts, tokens) for outputs in (student, teacher))
            rows = tokens[:, None, :].expand(one.shape[:-1])
            terms[term] = self.weight * kdbench.kernels.kd_kl(one, other, mask=rows)
        return terms

    def _relation(self, features, parts, tokens):
        """Logits of each token's relation to those that it may look at, (N, heads, L, L)."""
        found = scores(features[parts[0]], features[parts[1]], self._heads)
        return found.masked_fill(~seen_pairs(tokens, self._causal), UNSEEN)
