"""Projectors bring any feature shape that can be matched to the teacher's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import kdbench
from kdbench.engine.projectors import linear, regressor

sides = st.integers(1, 9)
maps = st.tuples(sides, sides, sides)
vectors = st.tuples(sides)


@pytest.mark.parametrize("projector", [linear, regressor])
@given(student=maps, teacher=st.one_of(maps, vectors))
@settings(max_examples=40, deadline=None)
def test_maps_go_to_maps_and_vectors(projector, student, teacher):
    assert projector(student, teacher)(torch.randn(3, *student)).shape == (3, *teacher)


@pytest.mark.parametrize("projector", [linear, regressor])
@given(student=vectors, teacher=vectors)
@settings(max_examples=10, deadline=None)
def test_vectors_go_to_vectors(projector, student, teacher):
    assert projector(student, teacher)(torch.randn(3, *student)).shape == (3, *teacher)


@pytest.mark.parametrize(
    ("projectors", "student", "teacher"),
    [
        ((linear, regressor), (4,), (4, 2, 2)),
        ((linear, regressor), (4, 2), (4, 3)),
        ((linear, regressor), (), (3,)),
        ((regressor,), (4, 2), (4, 2)),  # what is the same needs no linear map
    ],
)
def test_what_cannot_be_matched_is_refused_with_both_shapes(projectors, student, teacher):
    for projector in projectors:
        with pytest.raises(kdbench.ModelMismatch) as caught:
            projector(student, teacher)
        assert str(student) in str(caught.value)
        assert str(teacher) in str(caught.value)


def test_the_scale_of_its_answer_does_not_follow_the_students():
    project = regressor((5,), (7,))
    inputs = torch.randn(64, 5)
    torch.testing.assert_close(project(inputs), project(1000 * inputs), rtol=1e-3, atol=1e-3)


@given(student=st.one_of(maps, vectors), teacher=st.one_of(maps, vectors))
@settings(max_examples=40, deadline=None)
def test_a_linear_map_keeps_mixtures_of_items_whatever_their_scale(student, teacher):
    assume((len(student), len(teacher)) != (1, 3))
    project, (one, other) = linear(student, teacher).double(), torch.randn(2, *student, dtype=torch.float64)
    ends, mixed = project(1000 * torch.stack([one, other])), project(1000 * (0.25 * one + 0.75 * other)[None])
    torch.testing.assert_close(mixed[0], 0.25 * ends[0] + 0.75 * ends[1])


@given(shape=st.one_of(maps, vectors))
@settings(max_examples=10, deadline=None)
def test_features_of_one_shape_need_no_linear_map(shape):
    features = torch.randn(3, *shape)
    assert torch.equal(linear(shape, shape)(features), features)
