"""Each gradient method's terms against its paper's formula, its gradients, its edges and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import gradient_formulas as formulas
import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_gradients.alignment import GradientAlignment
from kdbench_gradients.attention import AttentionFromGradients
from kdbench_gradients.jacobian import JacobianMatching
from kdbench_gradients.sobolev import Sobolev

CLASSES, SHAPE = 4, (2, 4, 3)
CLOSE = {"rel": 1e-6, "abs": 1e-7}
LAYERS = {"student_layer": "f", "teacher_layer": "f"}
INFO = kdbench.DatasetInfo("made up", "multiclass", CLASSES, SHAPE, 20)


class Net(nn.Module):
    """A smooth network in float64, cut at its feature."""

    def __init__(self, seed: int, channels: int, stride: int = 1, *, vector: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        lower: list[nn.Module] = [nn.Conv2d(SHAPE[0], channels, 3, stride, 1), nn.Tanh()]
        if vector:
            lower += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.lower = nn.Sequential(*lower).double()
        size = self.lower(torch.zeros(1, *SHAPE, dtype=torch.float64)).numel()
        self.upper = nn.Sequential(nn.Flatten(), nn.Linear(size, 6), nn.Softplus(), nn.Linear(6, CLASSES)).double()
        self.feature = tuple(self.lower(torch.zeros(1, *SHAPE, dtype=torch.float64)).shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x))

    def outputs(self, x: Tensor) -> Outputs:
        feature = self.lower(x)
        return Outputs(self.upper(feature), {"f": feature}, x)


def networks(kind: str = "maps") -> tuple[Net, Net]:
    student = Net(0, 2, vector=kind in {"vectors", "vector to maps"})
    teacher = Net(1, {"same width": 2}.get(kind, 3), 2, vector=kind in {"vectors", "maps to vector"})
    return student, teacher


def random_inputs(items: int, seed: int = 2) -> Tensor:
    return torch.randn(items, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def terms(method: kdbench.Method, student: Net, teacher: Net, x: Tensor, labels: list[int] | None = None) -> Any:
    x = x.clone().requires_grad_()
    known = torch.tensor(labels) if labels is not None else torch.arange(len(x)) % CLASSES
    batch = Batch(x, x, known, torch.arange(len(x)), 0.0, 0)
    return dict(method.loss(batch, student.outputs(x), teacher.outputs(x)))


def number(value: Tensor) -> float:
    return float(value.detach())


def pair(student: Net, teacher: Net, **options: Any) -> Pair:
    models = (ModelInfo(name, net, {"f": net.feature}) for name, net in (("small", student), ("big", teacher)))
    return Pair(INFO, *models, 1, 1, **options)


def ready(method: kdbench.Method, student: Net, teacher: Net) -> kdbench.Method:
    method.check(pair(student, teacher))
    module = method.build(pair(student, teacher))
    method.module = module.double() if module is not None else None
    return method


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("of", ["label", "teacher"])
def test_jacobian_is_the_formula(items, of):
    (student, teacher), x = networks(), random_inputs(items)
    classes = [2, 0, 2][:items] if of == "label" else teacher(x).argmax(1).tolist()
    found = terms(JacobianMatching(weight=3.0, of=of), student, teacher, x, [2, 0, 2][:items])
    assert number(found["jacobian"]) == pytest.approx(3 * formulas.jacobian(student, teacher, x, classes), **CLOSE)


@pytest.mark.parametrize("of", ["log_probabilities", "probabilities", "logits"])
@pytest.mark.parametrize(("items", "projections"), [(1, 1), (3, 2)])
def test_sobolev_is_the_formula_along_directions_of_the_runs_random_stream(of, items, projections):
    (student, teacher), x = networks(), random_inputs(items)
    torch.manual_seed(7)
    directions = [torch.randn(items, CLASSES, dtype=torch.float64) for _ in range(projections)]
    torch.manual_seed(7)
    found = terms(Sobolev(weight=2.0, of=of, projections=projections), student, teacher, x)
    expected = 2 * formulas.sobolev(student, teacher, x, of, directions)
    assert number(found["sobolev"]) == pytest.approx(expected, **CLOSE)


def test_sobolevs_directions_are_uniform_so_that_its_mean_is_the_frobenius_distance_by_the_classes():
    student, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(24, CLASSES)).double() for _ in range(2))
    x = random_inputs(4000).requires_grad_()
    batch = Batch(x, x, torch.zeros(4000, dtype=torch.long), torch.arange(4000), 0.0, 0)
    torch.manual_seed(0)
    found = Sobolev(of="logits", weight=1.0).loss(batch, Outputs(student(x), {}, x), Outputs(teacher(x), {}, x))
    distance = (student[1].weight - teacher[1].weight).square().sum().item()
    assert CLASSES * number(found["sobolev"]) == pytest.approx(distance, rel=0.03)


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("of", ["label", "teacher"])
@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_lwm_is_the_formula_on_maps_of_different_size(items, of, norm, power):
    (student, teacher), x = networks(), random_inputs(items)
    labels = [1, 3, 1][:items]
    classes = labels if of == "label" else teacher(x).argmax(1).tolist()
    found = terms(AttentionFromGradients(**LAYERS, weight=2.0, norm=norm, of=of), student, teacher, x, labels)
    with torch.no_grad():
        maps = student.lower(x), teacher.lower(x)
        expected = formulas.lwm((student.upper, teacher.upper), maps, classes, power)
    assert number(found["attention"]) == pytest.approx(2 * expected, **CLOSE)


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("kind", ["maps", "same width", "vectors", "maps to vector", "vector to maps"])
def test_grad_align_is_the_formula_for_maps_and_vectors(items, kind):
    (student, teacher), x = networks(kind), random_inputs(items)
    method = ready(GradientAlignment(**LAYERS, weight=2.0), student, teacher)
    assert (method.module is None) == (kind == "same width")
    found = terms(method, student, teacher, x, [3, 0, 3][:items])
    with torch.no_grad():
        features = student.lower(x), teacher.lower(x)
        weight = method.module.weight if method.module is not None else None
        expected = formulas.alignment((student.upper, teacher.upper), features, [3, 0, 3][:items], weight)
    assert number(found["alignment"]) == pytest.approx(2 * expected, **CLOSE)


METHODS = [
    (JacobianMatching, {}, "jacobian"),
    (Sobolev, {"projections": 2, "weight": 1.0}, "sobolev"),
    (AttentionFromGradients, LAYERS, "attention"),
    (AttentionFromGradients, {**LAYERS, "norm": "l2"}, "attention"),
    (GradientAlignment, LAYERS, "alignment"),
]
everyone = pytest.mark.parametrize(("cls", "params", "term"), METHODS)


@everyone
def test_beside_it_stand_cross_entropy_and_soft_targets_as_in_kd(cls, params, term):
    (student, teacher), x = networks(), random_inputs(3)
    found = terms(ready(cls(**params, alpha=0.3, temperature=2.0), student, teacher), student, teacher, x)
    labels = torch.arange(3)
    ce = nn.functional.cross_entropy(student(x), labels)
    log_s, p_t = (student(x) / 2).log_softmax(1), (teacher(x) / 2).softmax(1)
    torch.testing.assert_close(found["ce"].double(), 0.7 * ce)
    torch.testing.assert_close(found["kd"].double(), 0.3 * 4 * (p_t * (p_t.log() - log_s)).sum(1).mean())
    assert set(found) == {"ce", "kd", term}


@everyone
@pytest.mark.parametrize("items", [1, 2])
def test_the_students_gradients_are_those_of_finite_differences(cls, params, term, items):
    (student, teacher), x = networks(), random_inputs(items)
    method, weights = ready(cls(**params), student, teacher), tuple(student.parameters())

    def term_of(*values: Tensor) -> Tensor:
        torch.manual_seed(5)  # the same projections each time
        return terms(method, student, teacher, x)[term]

    assert torch.autograd.gradcheck(term_of, weights, fast_mode=True)


@everyone
def test_nothing_flows_into_the_teacher(cls, params, term):
    (student, teacher), x = networks(), random_inputs(2)
    method = ready(cls(**params), student, teacher)
    sum(terms(method, student, teacher, x).values()).backward()
    assert all(value.grad is None for value in teacher.parameters())
    assert any(value.grad is not None and value.grad.any() for value in student.parameters())


@everyone
def test_a_student_that_is_its_teacher_has_nothing_to_learn(cls, params, term):
    student, _ = networks()
    method = cls(**params)
    found = terms(ready(method, student, copy.deepcopy(student)), student, copy.deepcopy(student), random_inputs(3))
    assert number(found[term]) == pytest.approx(0, abs=1e-12)


@everyone
@pytest.mark.parametrize("which", ["student", "teacher", "both"])
def test_a_model_without_any_slope_gives_the_formulas_number_and_finite_gradients(cls, params, term, which):
    """Equal logits whatever the input: every gradient is zero."""
    (student, teacher), x = networks(), random_inputs(3)
    for net, name in ((student, "student"), (teacher, "teacher")):
        if which in {name, "both"}:
            nn.init.zeros_(net.upper[-1].weight)
    method = ready(cls(**params), student, teacher)
    torch.manual_seed(7)
    found = terms(method, student, teacher, x)
    assert number(found[term]) == pytest.approx(without_slope(method, student, teacher, x), **CLOSE)
    sum(found.values()).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in student.parameters())


def without_slope(method: kdbench.Method, student: Net, teacher: Net, x: Tensor) -> float:
    labels = [0, 1, 2]
    if isinstance(method, JacobianMatching):
        return formulas.jacobian(student, teacher, x, labels)
    if isinstance(method, Sobolev):
        torch.manual_seed(7)
        directions = [torch.randn(len(x), CLASSES, dtype=torch.float64) for _ in range(method.projections)]
        return formulas.sobolev(student, teacher, x, method.of, directions)
    uppers = student.upper, teacher.upper
    with torch.no_grad():
        features = student.lower(x), teacher.lower(x)
        if isinstance(method, AttentionFromGradients):
            power = {"l1": 1, "l2": 2}[method.norm]
            return formulas.lwm(uppers, features, teacher(x).argmax(1).tolist(), power)
        return formulas.alignment(uppers, features, labels, method.module.weight)


@pytest.mark.parametrize("cls", [JacobianMatching, Sobolev])
def test_models_with_different_views_are_refused(cls):
    with pytest.raises(kdbench.MethodRefused, match=rf"method '{cls.name}' .* see different views"):
        cls().check(pair(*networks(), shared_view=False))


def test_lwm_refuses_vectors_with_the_shapes():
    with pytest.raises(kdbench.MethodRefused, match=r"'small' has 'f' of shape \(2,\).*\(3, 2, 2\)"):
        AttentionFromGradients(**LAYERS).check(pair(*networks("vector to maps")))


def test_grad_align_refuses_sequences_with_the_shapes():
    student, teacher = networks()
    student.feature = (7, 5)
    with pytest.raises(kdbench.MethodRefused, match=r"'small' has 'f' of shape \(7, 5\)"):
        GradientAlignment(**LAYERS).check(pair(student, teacher))


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (JacobianMatching, {"weight": -1}), (JacobianMatching, {"of": "student"}), (JacobianMatching, {"alpha": 1.1}),
        (Sobolev, {"projections": 0}), (Sobolev, {"of": "softmax"}), (AttentionFromGradients, {"norm": "l3"}),
        (GradientAlignment, {"temperature": 0}),
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused_by_name(cls, params):
    with pytest.raises(kdbench.InvalidParameter, match=next(iter(params))):
        cls(**params)


def test_the_plugin_registers_the_methods_under_their_names(catalog):
    entries = {entry.name: entry for entry in catalog.of_plugin("gradients")}
    assert {name: entry.load() for name, entry in entries.items()} == {
        cls.name: cls for cls in (JacobianMatching, Sobolev, AttentionFromGradients, GradientAlignment)
    }
    assert {entry.metadata["family"] for entry in entries.values()} == {"gradient"}
