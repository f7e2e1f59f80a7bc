"""Each feature method's terms against its paper's formula, its gradients, its edges and what it refuses."""

from __future__ import annotations

import math

import feature_formulas as formulas
import pytest
import torch
from feature_cases import CLASSES, LAYERS, MAPS, built, losses, make_batch, make_pair, numbers, randn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import ModelInfo, Outputs, Pair
from kdbench.testing import check_method
from kdbench_features.attention import AttentionTransfer
from kdbench_features.congruence import CorrelationCongruence
from kdbench_features.contrast import ContrastiveRepresentation
from kdbench_features.factors import FactorTransfer
from kdbench_features.information import VariationalInformation
from kdbench_features.probabilistic import ProbabilisticTransfer
from kdbench_features.relations import Relational
from kdbench_features.reuse import ReusedClassifier
from kdbench_features.selectivity import NeuronSelectivity
from kdbench_features.similarity import SimilarityPreserving

FEATURES = [*MAPS, ((4,), (4,)), ((3,), (6,)), ((5,), (2, 3, 3))]
RELATIONS = [SimilarityPreserving, Relational, ProbabilisticTransfer, CorrelationCongruence]
FORMULAS = {
    AttentionTransfer: lambda one, other: {"at": 1000 * formulas.attention(one, other)},
    SimilarityPreserving: lambda one, other: {"sp": 3000 * formulas.similarity(one, other)},
    Relational: lambda one, other: {
        "distance": 25 * formulas.relational_distance(one, other),
        "angle": 50 * formulas.relational_angle(one, other),
    },
    ProbabilisticTransfer: lambda one, other: {"pkt": 3e4 * formulas.neighbourhoods(one, other, 1e-7)},
    NeuronSelectivity: lambda one, other: {"nst": 50 * formulas.selectivity(one, other)},
    CorrelationCongruence: lambda one, other: {"cc": 100 * formulas.correlation(one, other, 0.4, 2)},
}
WITHOUT_MODULES = [(method, shapes) for method in FORMULAS for shapes in (MAPS if method.maps else FEATURES)]
everywhere = pytest.mark.parametrize(("method", "shapes"), WITHOUT_MODULES)


@everywhere
@given(items=st.integers(1, 6), seed=st.integers(0, 2**31), scale=st.sampled_from([1e-3, 1.0, 30.0]))
@settings(max_examples=12, deadline=None)
def test_the_terms_are_the_papers_formula(method, shapes, items, seed, scale):
    student, teacher = scale * randn(items, *shapes[0], seed=seed), randn(items, *shapes[1], seed=seed + 1)
    found = numbers(losses(method(**LAYERS), student, teacher))
    assert found == pytest.approx(FORMULAS[method](student, teacher), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("method", FORMULAS)
def test_several_layers_are_summed(method):
    shapes = MAPS[0]
    one, other, third, fourth = (randn(4, *shapes[n % 2], seed=n) for n in range(4))
    made, batch = method(student_layers=("a", "b"), teacher_layers=("c", "d")), make_batch(4)
    logits = randn(4, CLASSES)
    found = dict(made.loss(batch, Outputs(logits, {"a": one, "b": third}, None),
                           Outputs(logits, {"c": other, "d": fourth}, None)))  # fmt: skip
    del found["ce"]
    first, second = FORMULAS[method](one, other), FORMULAS[method](third, fourth)
    assert numbers(found) == pytest.approx({name: first[name] + second[name] for name in first}, rel=1e-8)


@everywhere
@pytest.mark.parametrize("items", [1, 2, 4])
def test_gradients_of_the_student_are_those_of_finite_differences(method, shapes, items):
    student, teacher = randn(items, *shapes[0]).requires_grad_(), randn(items, *shapes[1], seed=1)
    made = method(**LAYERS)
    assert torch.autograd.gradcheck(lambda features: sum(losses(made, features, teacher).values()), (student,))


@everywhere
@pytest.mark.parametrize("which", ["student", "teacher", "both", "one item"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_features_give_the_formulas_number_and_finite_gradients(method, shapes, which, dtype):
    student, teacher = randn(4, *shapes[0]).to(dtype), randn(4, *shapes[1], seed=1).to(dtype)
    for features, name in ((student, "student"), (teacher, "teacher")):
        if which in {name, "both"}:
            features.zero_()
        elif which == "one item":
            features[1] = 0
    student.requires_grad_()
    found = losses(method(**LAYERS), student, teacher)
    expected = FORMULAS[method](student.detach().double(), teacher.double())
    tolerance = 1e-8 if dtype == torch.float64 else 2e-4
    assert numbers(found) == pytest.approx(expected, rel=tolerance, abs=100 * tolerance)
    sum(found.values()).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e6


@pytest.mark.parametrize("method", FORMULAS)
def test_a_student_with_the_teachers_features_loses_nothing(method):
    features = randn(5, *MAPS[0][0])
    assert numbers(losses(method(**LAYERS), features, features)) == pytest.approx(
        dict.fromkeys(FORMULAS[method](features, features), 0.0), abs=1e-10
    )


@pytest.mark.parametrize("method", RELATIONS)
def test_a_batch_of_one_has_no_relations(method):
    student = randn(1, 4).requires_grad_()
    found = losses(method(**LAYERS), student, randn(1, 6, seed=1))
    assert numbers(found) == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-12)
    sum(found.values()).backward()
    assert student.grad.abs().max() < 1e-9


@pytest.mark.parametrize("method", RELATIONS)
def test_items_that_coincide_give_finite_gradients(method):
    """The same row several times, far from the origin: its distances to itself are 0, not rounding."""
    student = (1000 + randn(1, 8)).expand(6, 8).float().clone()
    student[4:] += 1
    student.requires_grad_()
    teacher = randn(6, 5, seed=1).float()
    found = losses(method(**LAYERS), student, teacher)
    expected = FORMULAS[method](student.detach().double(), teacher.double())
    assert numbers(found) == pytest.approx(expected, rel=2e-3, abs=0.05)
    sum(found.values()).backward()
    assert student.grad.isfinite().all()


def test_rkd_keeps_the_angles_at_items_that_nearly_coincide():
    """Two items 1/2000 of the others' distance apart: their Gram matrix in float32 would not know the direction."""
    student, teacher = randn(3, 4).float(), randn(3, 5, seed=1).float()
    student[1] = student[0] + 5e-4 * torch.tensor([1.0, -1.0, 1.0, 1.0])
    found = numbers(losses(Relational(**LAYERS), student, teacher))
    assert found == pytest.approx(FORMULAS[Relational](student.double(), teacher.double()), rel=1e-3)


@pytest.mark.parametrize("method", FORMULAS)
def test_half_precision_features_are_widened(method):
    student, teacher = randn(4, 3, 4, 4).to(torch.bfloat16), randn(4, 5, 4, 4, seed=1).float()
    found = losses(method(**LAYERS), student, teacher)
    assert numbers(found) == pytest.approx(FORMULAS[method](student.double(), teacher.double()), rel=1e-3, abs=1e-3)


def test_rkd_without_angles_has_no_angle_term():
    assert set(losses(Relational(**LAYERS, angle_weight=0), randn(4, 3), randn(4, 3, seed=1))) == {"distance"}


@given(gamma=st.floats(0.05, 2), order=st.integers(1, 8), seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_cc_follows_its_kernel(gamma, order, seed):
    student, teacher = randn(5, 3, seed=seed), randn(5, 4, seed=seed + 1)
    found = numbers(losses(CorrelationCongruence(**LAYERS, gamma=gamma, order=order, weight=1), student, teacher))
    assert found["cc"] == pytest.approx(formulas.correlation(student, teacher, gamma, order), rel=1e-8, abs=1e-12)


def test_cc_tends_to_the_gaussian_kernel():
    student, teacher = randn(4, 3), randn(4, 5, seed=1)
    tables = []
    for features in (student, teacher):
        directions = features / features.norm(dim=1, keepdim=True)
        tables.append(torch.exp(-0.4 * torch.cdist(directions, directions).square()))
    found = losses(CorrelationCongruence(**LAYERS, order=20, weight=1), student, teacher)
    torch.testing.assert_close(found["cc"], (tables[0] - tables[1]).square().mean())


@pytest.mark.parametrize("shapes", [*MAPS, ((5,), (3,)), ((4, 3, 3), (6,))])
@given(items=st.integers(2, 5), seed=st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_vid_is_the_gaussians_negative_log_likelihood(shapes, items, seed):
    method = built(VariationalInformation(**LAYERS, weight=3, min_variance=0.01), shapes)
    student, teacher = randn(items, *shapes[0], seed=seed), randn(items, *shapes[1], seed=seed + 1)
    regressor, alphas = method.module["mean"][0], method.module["alpha"][0]
    softplus = [math.log1p(math.exp(alpha)) for alpha in alphas.flatten().tolist()]
    assert [0.01 + value for value in softplus] == pytest.approx([5.0] * shapes[1][0])
    with torch.no_grad():
        alphas.copy_(randn(*alphas.shape, seed=seed))
    variances = [0.01 + math.log1p(math.exp(alpha)) for alpha in alphas.flatten().tolist()]
    expected = 3 * formulas.likelihood(regressor(student), teacher, variances)
    assert numbers(losses(method, student, teacher))["vid"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shapes", [MAPS[1], ((5,), (3,))])
def test_vids_gradients_reach_the_student_and_the_variance(shapes):
    method = built(VariationalInformation(**LAYERS), shapes)
    method.module.eval()
    student, teacher = randn(3, *shapes[0]).requires_grad_(), randn(3, *shapes[1], seed=1)
    alpha = method.module["alpha"][0]

    def loss(features: Tensor, _alpha: Tensor) -> Tensor:
        return losses(method, features, teacher)["vid"]

    assert torch.autograd.gradcheck(loss, (student, alpha))


def embedded(method: ContrastiveRepresentation, student: Tensor, teacher: Tensor) -> list[list[list[float]]]:
    result = []
    for linear, features in zip(method.module[0].maps, (student, teacher), strict=True):
        weights, bias = linear.weight.tolist(), linear.bias.tolist()
        result.append(
            [
                formulas.unit([formulas.dot(weight, row) + b for weight, b in zip(weights, bias, strict=True)])
                for row in formulas.rows(features)
            ]
        )
    return result


@pytest.mark.parametrize("shapes", [((5,), (3,)), ((2, 3, 3), (4,))])
@pytest.mark.parametrize("labels", [[0, 1, 2, 0], [0, 0, 0, 1], [2, 2, 2, 2], [1]])
def test_crd_in_the_batch_is_the_critics_loss(shapes, labels):
    method = built(ContrastiveRepresentation(**LAYERS, pool="batch", size=4, temperature=0.3, weight=2), shapes)
    items, z = len(labels), formulas.mean_exponential(4, 0.3)
    student, teacher = randn(items, *shapes[0]), randn(items, *shapes[1], seed=1)
    one, other = embedded(method, student, teacher)
    arguments = labels, labels, 0.3, z
    expected = formulas.contrast(one, other, other, *arguments) + formulas.contrast(other, one, one, *arguments)
    found = numbers(losses(method, student, teacher, make_batch(items, labels)))
    assert found["crd"] == pytest.approx(2 * expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("negatives", [16384, 6])
def test_crd_with_a_bank_is_the_critics_loss_against_it(negatives):
    method = built(ContrastiveRepresentation(**LAYERS, size=8, temperature=0.2, negatives=negatives), ((5,), (3,)))
    embedding, labels = method.module[0], [0, 1, 2, 0]
    embedding.labels[:15] = torch.arange(15) % CLASSES
    student, teacher = randn(4, 5), randn(4, 3, seed=1)
    torch.manual_seed(3)
    drawn = torch.arange(20) if negatives > 20 else torch.randint(20, (negatives,))
    known, ones, others = (kept[drawn].tolist() for kept in (embedding.labels, embedding.ones, embedding.others))
    one, other = embedded(method, student, teacher)
    rest = labels, known, 0.2, formulas.mean_exponential(8, 0.2)
    expected = formulas.contrast(one, other, others, *rest) + formulas.contrast(other, one, ones, *rest)
    torch.manual_seed(3)
    found = numbers(losses(method, student, teacher, make_batch(4, labels, [9, 1, 0, 17])))
    assert found["crd"] == pytest.approx(0.8 * expected, rel=1e-6)


def test_crds_bank_takes_in_a_batch_after_its_step():
    method = built(ContrastiveRepresentation(**LAYERS, size=8, momentum=0.25), ((5,), (3,)))
    embedding, student, teacher = method.module[0], randn(3, 5), randn(3, 3, seed=1)
    before = embedding.ones.clone(), embedding.others.clone()
    batch = make_batch(3, [2, 0, 1], [4, 19, 7])
    logits = randn(3, CLASSES).requires_grad_()

    class OneStep:
        def student_outputs(self, batch):
            return Outputs(logits, {"s": student}, None)

        def teacher_outputs(self, batch):
            return Outputs(logits, {"t": teacher}, None)

        def optimize(self, loss):
            sum(loss.values()).backward()
            return loss

    method.step(OneStep(), batch)
    assert embedding.labels[batch.index].tolist() == [2, 0, 1]
    assert int((embedding.labels == -1).sum()) == 17
    for kept, old, new in zip((embedding.ones, embedding.others), before, embedded(method, student, teacher),
                              strict=True):  # fmt: skip
        for position, vector in zip(batch.index.tolist(), new, strict=True):
            mixed = [0.25 * a + 0.75 * b for a, b in zip(old[position].tolist(), vector, strict=True)]
            assert kept[position].tolist() == pytest.approx(formulas.unit(mixed))
        others = [position for position in range(20) if position not in {4, 19, 7}]
        assert kept[others].equal(old[others])
        assert not kept.requires_grad


@pytest.mark.parametrize("pool", ["bank", "batch"])
def test_crds_gradients_reach_the_student(pool):
    method = built(ContrastiveRepresentation(**LAYERS, pool=pool, size=4, temperature=0.3), ((5,), (3,)))
    student, teacher = randn(4, 5).requires_grad_(), randn(4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda features: losses(method, features, teacher)["crd"], (student,))


@pytest.mark.parametrize("shapes", MAPS)
@given(items=st.integers(2, 4), seed=st.integers(0, 2**31))
@settings(max_examples=6, deadline=None)
def test_ft_is_the_mean_absolute_difference_of_unit_factors(shapes, items, seed):
    method = built(FactorTransfer(**LAYERS, weight=3, rate=0.75), shapes)
    (factors,) = method.module
    factors.paraphraser.freeze()
    student, teacher = randn(items, *shapes[0], seed=seed), randn(items, *shapes[1], seed=seed + 1)
    mine, its = factors.translator(student), factors.paraphraser(teacher)
    assert mine.shape[1] == its.shape[1] == round(0.75 * shapes[1][0])
    expected = 3 * formulas.factor_gap(mine, its)
    assert numbers(losses(method, student, teacher))["ft"] == pytest.approx(expected, rel=1e-9)


def test_fts_gradients_reach_the_student():
    method = built(FactorTransfer(**LAYERS), MAPS[1])
    method.module.eval()
    student, teacher = randn(3, *MAPS[1][0]).requires_grad_(), randn(3, *MAPS[1][1], seed=1)
    assert torch.autograd.gradcheck(lambda features: losses(method, features, teacher)["ft"], (student,))


def test_a_frozen_paraphraser_stays_as_it_is_in_training_mode():
    method = built(FactorTransfer(**LAYERS), MAPS[0])
    (factors,) = method.module
    factors.paraphraser.freeze()
    before = {name: value.clone() for name, value in factors.paraphraser.state_dict().items()}
    method.module.train()
    sum(losses(method, randn(4, *MAPS[0][0]).requires_grad_(), randn(4, *MAPS[0][1], seed=1)).values()).backward()
    assert factors.translator.training
    assert not any(module.training for module in factors.paraphraser.modules())
    assert all(parameter.grad is None for parameter in factors.paraphraser.parameters())
    assert all(value.equal(before[name]) for name, value in factors.paraphraser.state_dict().items())


class Small(nn.Module):
    """A classifier that ends in a linear layer; `width` is what it reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(6, width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).relu())


def test_simkd_regresses_the_teachers_vectors_and_answers_with_its_classifier():
    student, teacher = Small(4).double(), Small(7).double()
    method = ReusedClassifier(weight=3, projector="linear")
    pair = make_pair((1,), (1,))
    pair = Pair(pair.dataset, ModelInfo("small", student, {"penultimate": (4,)}),
                ModelInfo("big", teacher, {"penultimate": (7,)}), 1, 1)  # fmt: skip
    method.check(pair)
    assert method.build(pair) is None
    student.double()
    inputs, features = randn(5, 6), randn(5, 7, seed=1)
    logits = student(inputs)
    found = method.loss(make_batch(5), Outputs(logits, {}, inputs), Outputs(logits, {"penultimate": features}, inputs))
    projected = student.fc.projector(student.body(inputs).relu())
    squares = [
        (a - b) ** 2
        for one, other in zip(projected.tolist(), features.tolist(), strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    assert set(found) == {"feature"}
    assert float(found["feature"].detach()) == pytest.approx(3 * formulas.mean(squares))
    torch.testing.assert_close(logits, teacher.fc(projected))
    assert not student.fc.reader.weight.requires_grad
    assert student.fc.reader is not teacher.fc


@pytest.mark.parametrize(
    ("method", "shapes"),
    [
        (AttentionTransfer, ((3,), (4,))), (AttentionTransfer, ((3, 4, 4), (4,))),
        (NeuronSelectivity, ((3,), (4, 2, 2))),
        (NeuronSelectivity, ((5, 8), (5, 8))), (VariationalInformation, ((3,), (4, 2, 2))),
        (VariationalInformation, ((5, 8), (5, 8))), (FactorTransfer, ((3,), (3,))), (FactorTransfer, ((3, 2, 2), (3,))),
    ],
)  # fmt: skip
def test_features_that_cannot_be_matched_are_refused_by_name_with_their_shapes(method, shapes):
    with pytest.raises(kdbench.MethodRefused) as caught:
        method(**LAYERS).check(make_pair(*shapes))
    message = str(caught.value)
    assert f"method {method.name!r}" in message
    for part in ("'small'", "'big'", *map(str, shapes), f"--set {method.name}.student_layers="):
        assert part in message


@pytest.mark.parametrize("method", [*FORMULAS, VariationalInformation, ContrastiveRepresentation, FactorTransfer])
def test_layers_that_do_not_pair_up_are_refused(method):
    with pytest.raises(kdbench.MethodRefused, match=rf"(?s)method '{method.name}'.*2 student layers.*1 teacher layers"):
        method(student_layers=("s", "s"), teacher_layers=("t",)).check(make_pair((3, 4, 4), (3, 4, 4)))


@pytest.mark.parametrize(
    ("made", "refused"),
    [
        *[(method(**LAYERS), True) for method in RELATIONS],
        (ContrastiveRepresentation(**LAYERS, pool="batch"), True), (ContrastiveRepresentation(**LAYERS), False),
        (AttentionTransfer(**LAYERS), False),
    ],
)  # fmt: skip
def test_batches_of_one_are_refused_where_items_are_compared(made, refused):
    shape = (3, 4, 4)
    made.check(make_pair(shape, shape, batch_size=2))
    if not refused:
        made.check(make_pair(shape, shape, batch_size=1))
        return
    with pytest.raises(kdbench.MethodRefused, match=rf"(?s)method '{made.name}'.*a batch has one.*batch_size=64"):
        made.check(make_pair(shape, shape, batch_size=1))


def test_vid_refuses_a_smallest_variance_above_its_first():
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'vid'.*min_variance 6\.0, initial_variance 5\.0"):
        VariationalInformation(**LAYERS, min_variance=6).check(make_pair((3,), (3,)))


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_simkd_refuses_a_model_that_does_not_end_in_a_linear_layer_on_vectors(role):
    good, bad = ModelInfo("good", Small(4), {"penultimate": (4,)}), ModelInfo("bad", Small(4), {"penultimate": (5, 4)})
    models = (bad, good) if role == "student" else (good, bad)
    with pytest.raises(kdbench.MethodRefused, match=rf"(?s)'simkd'.*{role} 'bad' reads .* shape \(5, 4\)"):
        ReusedClassifier(projector="linear").check(
            Pair(DatasetInfo("made up", "multiclass", 3, (6,), 9), *models, 1, 1)
        )


@pytest.mark.parametrize(
    ("method", "parameter", "value"),
    [
        (AttentionTransfer, "weight", -1), (SimilarityPreserving, "student_layers", ()),
        (Relational, "angle_weight", -1),
        (Relational, "distance_weight", -0.5), (ProbabilisticTransfer, "floor", 0), (NeuronSelectivity, "weight", -1),
        (VariationalInformation, "min_variance", 0), (VariationalInformation, "initial_variance", -5),
        (CorrelationCongruence, "gamma", 0), (CorrelationCongruence, "order", 0), (ReusedClassifier, "weight", 0),
        (ContrastiveRepresentation, "temperature", 0), (ContrastiveRepresentation, "momentum", 1),
        (ContrastiveRepresentation, "pool", "disk"), (ContrastiveRepresentation, "negatives", 0),
        (FactorTransfer, "rate", 0), (FactorTransfer, "rate", 1.5), (FactorTransfer, "paraphraser_epochs", 0),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(method, parameter, value):
    with pytest.raises(kdbench.InvalidParameter, match=parameter):
        method(**{parameter: value})


STAGES = {"student_layers": ("stage1", "stage2"), "teacher_layers": ("stage1", "stage2")}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (AttentionTransfer, STAGES), (SimilarityPreserving, STAGES), (Relational, {}), (ProbabilisticTransfer, {}),
        (VariationalInformation, STAGES), (NeuronSelectivity, STAGES), (CorrelationCongruence, {}),
        (ReusedClassifier, {}),
        (ContrastiveRepresentation, {}), (ContrastiveRepresentation, {"negatives": 8}),
        (ContrastiveRepresentation, {"pool": "batch"}),
        (FactorTransfer, {**STAGES, "paraphraser_epochs": 2}),
    ],
)  # fmt: skip
def test_each_keeps_the_promises_of_a_method(method, params):
    check_method(method, **params)


def test_the_plugin_registers_every_method(catalog):
    entries = list(catalog.of_plugin("features"))
    assert all(getattr(entry.load(), "name", "simkd") == entry.name for entry in entries)
    assert {entry.name for entry in entries} == {
        "at", "sp", "rkd", "pkt", "vid", "nst", "cc", "simkd", "crd", "ft", "ab", "fsp", "ofd", "reviewkd"
    }  # fmt: skip
