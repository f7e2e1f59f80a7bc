"""DistilBERT's, TinyBERT's and MiniLM's objectives: in plain loops, on language models, on transformers' encoders."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import token_formulas as formulas
import torch
from row_formulas import kl, softmax
from small_training import Bench, Trained, check_training, make_bench
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_language.data import python_topics
from kdbench_language.transformers import DistilBert, MiniLm, TinyBert

ITEMS, LENGTH, HEADS, CLASSES = 3, 4, 2, 5
INPUTS = torch.tensor([[3, 1, 2, 2], [4, 2, 0, 0], [1, 0, 0, 0]])  # 0 pads
PARTS = ("embeddings", "last", *(f"{part}{n}" for part in ("stage", "query", "key", "value") for n in (1, 2)))
LAST = {"query": "query2", "key": "key2", "value": "value2", "last": "stage2"}


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Described(nn.Module):
    """What a transformer says of itself."""

    def __init__(self, heads: int | None = HEADS, padding: int | None = 0, causal: bool = False) -> None:
        super().__init__()
        self.attention_heads, self.padding_index, self.causal = heads, padding, causal


def outputs(width: int, seed: int, *, tokens: bool = False) -> Outputs:
    features = {part: randn(ITEMS, LENGTH, width, seed=seed + n) for n, part in enumerate(PARTS)}
    features |= {name: features[part] for name, part in LAST.items()}
    shape = (ITEMS, LENGTH, CLASSES) if tokens else (ITEMS, CLASSES)
    return Outputs(randn(*shape, seed=seed + 50), features, INPUTS.double())


def make_batch(labels: Tensor, progress: float = 0.0) -> Batch:
    return Batch(INPUTS.double(), INPUTS.double(), labels, torch.arange(ITEMS), progress, 0)


def make_pair(
    widths: tuple[int, int], student: nn.Module | None = None, teacher: nn.Module | None = None, **recipe: Any
) -> Pair:
    info = DatasetInfo("made up", "multiclass", CLASSES, (LENGTH,), 10)
    models = [
        ModelInfo(name, module or Described(), dict.fromkeys((*PARTS, *LAST), (LENGTH, width)))
        for name, width, module in (("small", widths[0], student), ("big", widths[1], teacher))
    ]
    return Pair(info, *models, 1, 10, teacher_dataset=info, recipe=kdbench.Recipe(**recipe))


def built(method: kdbench.Method, pair: Pair) -> kdbench.Method:
    torch.manual_seed(0)
    method.check(pair)
    module = method.build(pair)
    method.module = module if module is None else module.double()
    return method


LABELS = torch.tensor([1, 0, 4])
TOKEN_LABELS = torch.tensor([[1, -100, 2, 0], [-100, 3, -100, -100], [4, -100, -100, -100]])
KEPT = [(n, t) for n in range(ITEMS) for t in range(LENGTH) if INPUTS[n, t] != 0]


@pytest.mark.parametrize("widths", [(4, 4), (2, 6)])
@pytest.mark.parametrize("labels", [LABELS, TOKEN_LABELS], ids=["items", "tokens"])
def test_distilbert_is_its_three_terms(widths, labels):
    method = built(DistilBert(), make_pair(widths))
    tokens = labels.ndim == 2
    student, teacher = outputs(widths[0], 0, tokens=tokens), outputs(widths[1], 100, tokens=tokens)
    found = method.loss(make_batch(labels), student, teacher)
    counted = torch.where(INPUTS == 0, -100, 0) if tokens else labels
    kd = 4 * formulas.over_tokens(student.logits, teacher.logits, counted, kl, 2.0)
    assert found["kd"].item() == pytest.approx(5 * kd, rel=1e-9)
    assert found["ce"].item() == pytest.approx(2 * formulas.cross_entropy(student.logits, labels), rel=1e-9)
    mapped = method.module(student.features["last"])
    gaps = [1 - cosine(mapped[place].tolist(), teacher.features["last"][place].tolist()) for place in KEPT]
    assert found["cosine"].item() == pytest.approx(sum(gaps) / len(gaps), rel=1e-9)
    assert isinstance(method.module, nn.Identity) == (widths[0] == widths[1])


def cosine(one: list[float], other: list[float]) -> float:
    dot, squares = sum(a * b for a, b in zip(one, other, strict=True)), [sum(a * a for a in v) for v in (one, other)]
    return dot / math.sqrt(squares[0] * squares[1])


def head_scores(one: Tensor, other: Tensor, item: int, head: int) -> list[list[float]]:
    size = one.shape[-1] // HEADS
    own = slice(head * size, (head + 1) * size)
    return [
        [sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(size) for y in other[item, :, own].tolist()]
        for x in one[item, :, own].tolist()
    ]


def mean_square(one: Tensor, other: Tensor) -> float:
    gaps = [(a - b) ** 2 for p in KEPT for a, b in zip(one[p].tolist(), other[p].tolist(), strict=True)]
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("layers", [((1,), (2,)), ((1, 2), (1, 2))])
def test_tinybert_matches_embeddings_hidden_states_and_scores_then_answers(layers, causal):
    method = TinyBert(student_layers=layers[0], teacher_layers=layers[1], weight=3)
    built(method, make_pair((2, 6), Described(causal=causal), Described(causal=causal)))
    student, teacher = outputs(2, 0), outputs(6, 100)
    found = method.loss(make_batch(LABELS), student, teacher)
    one, other = student.features, teacher.features
    embeddings = mean_square(method.module["embeddings"](one["embeddings"]), other["embeddings"])
    hidden = attention = 0.0
    for n, m in zip(*layers, strict=True):
        hidden += mean_square(method.module["hidden"](one[f"stage{n}"]), other[f"stage{m}"])
        gaps = []
        for item in range(ITEMS):
            for head in range(HEADS):
                a = head_scores(one[f"query{n}"], one[f"key{n}"], item, head)
                b = head_scores(other[f"query{m}"], other[f"key{m}"], item, head)
                for i, t in KEPT:
                    seen = [u for j, u in KEPT if i == j == item and (u <= t or not causal)]
                    gaps += [(a[t][u] - b[t][u]) ** 2 for u in seen]
        attention += sum(gaps) / len(gaps)
    expected = {"embeddings": 3 * embeddings, "hidden": 3 * hidden, "attention": 3 * attention}
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-9)
    later = method.loss(make_batch(LABELS, progress=0.5), student, teacher)
    assert later.keys() == {"kd"}
    kd = formulas.over_tokens(student.logits, teacher.logits, LABELS, kl)
    assert later["kd"].item() == pytest.approx(kd, rel=1e-9)


@pytest.mark.parametrize("causal", [False, True])
def test_minilm_matches_the_distributions_of_attention_and_the_relations_of_values(causal):
    method = built(MiniLm(weight=2), make_pair((4, 6), Described(causal=causal), Described(causal=causal)))
    student, teacher = outputs(4, 0), outputs(6, 100)
    found = method.loss(make_batch(LABELS), student, teacher)
    for term, (left, right) in {"attention": ("query", "key"), "values": ("value", "value")}.items():
        losses = []
        for item in range(ITEMS):
            for head in range(HEADS):
                rows = [head_scores(o.features[left], o.features[right], item, head) for o in (teacher, student)]
                for i, t in KEPT:
                    seen = [u for j, u in KEPT if i == j == item and (u <= t or not causal)]
                    if seen:
                        p, q = (softmax([each[t][u] for u in seen]) for each in rows)
                        losses.append(kl(p, q))
        assert found[term].item() == pytest.approx(2 * sum(losses) / len(losses), rel=1e-9)
    assert found["ce"].item() == pytest.approx(formulas.cross_entropy(student.logits, LABELS), rel=1e-9)
    assert "ce" not in built(MiniLm(ce=0), make_pair((4, 6), finetune_epochs=1)).loss(
        make_batch(LABELS), student, teacher
    )


@pytest.mark.parametrize("make", [DistilBert, MiniLm, partial(TinyBert, student_layers=(1,), teacher_layers=(2,))])
def test_the_students_gradients_are_those_of_the_loss(make):
    method, teacher, example = built(make(), make_pair((2, 4))), outputs(4, 100), outputs(2, 0)
    names = list(dict.fromkeys(method.needs.student_features))

    def loss(logits: Tensor, *values: Tensor) -> Tensor:
        student = Outputs(logits, dict(zip(names, values, strict=True)), INPUTS)
        return sum(method.loss(make_batch(LABELS), student, teacher).values())

    values = [example.features[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(loss, (example.logits.requires_grad_(), *values))


@pytest.mark.parametrize(
    ("method", "student", "teacher", "message"),
    [
        (MiniLm(), Described(4), Described(2), "student 'small' has 4 heads, teacher 'big' has 2"),
        (TinyBert(), Described(None), Described(None), "head by head"),
        (TinyBert(student_layers=(1,)), Described(), Described(), "do not pair up"),
    ],
)
def test_models_whose_attention_cannot_be_compared_are_refused(method, student, teacher, message):
    with pytest.raises(kdbench.MethodRefused, match=message):
        method.check(make_pair((4, 4), student, teacher))


def test_layers_that_do_not_pair_up_are_refused_with_the_parameters_that_name_them():
    fix = r"--set tinybert\.student_layers=\S+ --set tinybert\.teacher_layers="
    with pytest.raises(kdbench.MethodRefused, match=fix):
        TinyBert(student_layers=(1,)).check(make_pair((4, 4)))


def test_models_without_hidden_states_of_one_length_are_refused():
    pair = make_pair((4, 4))
    longer = replace(pair, teacher=replace(pair.teacher, features={"last": (LENGTH + 1, 4)}))
    maps = replace(pair, student=ModelInfo("cnn", nn.Identity(), {"last": (3, 4, 4)}))
    for each in (longer, maps):
        with pytest.raises(kdbench.MethodRefused, match="one length"):
            DistilBert().check(each)


METHODS = [
    (DistilBert, {}),
    (TinyBert, {"student_layers": (1,), "teacher_layers": (2,)}),
    (MiniLm, {}),
    (MiniLm, {"ce": 0}),
]


def trained(bench: Bench, cls: type[kdbench.Method], params: dict[str, Any], **recipe: Any) -> Trained:
    """Without labels, answers are left to a final fine-tune."""
    answers = "ce" not in params
    return check_training(bench, lambda: cls(**params), answers=answers, finetune_epochs=int(not answers), **recipe)


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_on_language_models(topics, cls, params):
    epochs = 4 if cls is TinyBert else 2
    found = trained(topics, cls, params, epochs=epochs)
    if cls is TinyBert:
        stages = [sorted(row.keys() & {"kd", "hidden"}) for row in found.history]
        assert stages == [["hidden"], ["hidden"], ["kd"], ["kd"]]


def test_minilm_without_labels_needs_a_fine_tune_and_takes_the_last_epoch(topics):
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)answers would never be trained.*MiniLm\.ce=0"):
        topics.trainer(MiniLm(ce=0))
    recipe = {"epochs": 3, "select": "best", "patience": 1, "finetune_epochs": 1, "lr": 1e-3}
    trainer = topics.distil(MiniLm(ce=0), **recipe).trainer
    assert [len(trainer.history), trainer.selected_epoch] == [3, 2]


def test_tinyberts_first_stage_costs_no_patience_and_its_checkpoint_is_not_chosen(topics):
    method = TinyBert(student_layers=(1,), teacher_layers=(2,), intermediate=5 / 6)
    trainer = topics.distil(method, epochs=6, patience=1, select="best", lr=1e-4).trainer
    assert [len(trainer.history), trainer.selected_epoch] == [6, 5]


def test_a_layer_that_a_model_lacks_is_refused_by_name(topics):
    with pytest.raises(kdbench.KdbenchError, match="'student' has no feature 'stage2'"):
        topics.trainer(TinyBert())


@pytest.fixture(scope="module")
def encoders():
    """A BERT of two layers and one of one layer that tell topics of Python's help by 64 characters; 0 pads."""
    transformers = pytest.importorskip("transformers")
    from kdbench_models.external import TransformersClassifier

    def encoder(width: int, layers: int, info: DatasetInfo) -> nn.Module:
        config = transformers.BertConfig(
            vocab_size=98, hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
            intermediate_size=2 * width, max_position_embeddings=64, num_labels=info.num_classes, pad_token_id=0,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        return TransformersClassifier(transformers.AutoModelForSequenceClassification.from_config(config), False)

    text = python_topics(14_000)
    tokens = np.where(np.roll(text.labels, 1, axis=1) == -100, 0, text.inputs + 1)
    _, topic = np.unique(text.groups, return_inverse=True)
    data = kdbench.Data(tokens, topic, [f"topic {n}" for n in range(topic.max() + 1)], preprocess="none")
    recipe = kdbench.Recipe(optimizer="adamw", lr=3e-3, epochs=4, batch_size=16, select="last")
    return make_bench(data, teacher=partial(encoder, 32, 2), student=partial(encoder, 16, 1), recipe=recipe)


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_on_transformers_encoders(encoders, cls, params):
    trained(encoders, cls, params)


def test_attention_is_what_the_encoder_computes(encoders):
    """The relations of queries and keys are transformers' own attention probabilities."""
    method = MiniLm()
    pair = encoders.pair(method)
    method.check(pair)
    method.build(pair)
    model = encoders.teacher.model
    model.set_attn_implementation("eager")
    inputs = encoders.validation.student[:7].clone()
    inputs[:, 50:] = 0
    from kdbench.engine.features import FeatureTap

    tap = FeatureTap(encoders.teacher, ["query", "key"], "teacher")
    with torch.no_grad():
        answers = model(input_ids=inputs.long(), attention_mask=(inputs != 0).long(), output_attentions=True)
    features = tap.take()
    tap.close()
    own = method._relation(features, ("query", "key"), inputs != 0).softmax(-1)
    torch.testing.assert_close(own, answers.attentions[-1], atol=1e-6, rtol=1e-5)
