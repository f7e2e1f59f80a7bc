"""Projectors bring any feature shape that can be matched to the teacher's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import kdbench
from kdbench.engine.projectors import regressor

sides = st.integers(1, 9)
maps = st.tuples(sides, sides, sides)
vectors = st.tuples(sides)


@given(student=maps, teacher=st.one_of(maps, vectors))
@settings(max_examples=40, deadline=None)
def test_maps_go_to_maps_and_vectors(student, teacher):
    assert regressor(student, teacher)(torch.randn(3, *student)).shape == (3, *teacher)


@given(student=vectors, teacher=vectors)
@settings(max_examples=10, deadline=None)
def test_vectors_go_to_vectors(student, teacher):
    assert regressor(student, teacher)(torch.randn(3, *student)).shape == (3, *teacher)


@pytest.mark.parametrize(("student", "teacher"), [((4,), (4, 2, 2)), ((4, 2), (4, 2)), ((), (3,))])
def test_what_cannot_be_matched_is_refused_with_both_shapes(student, teacher):
    with pytest.raises(kdbench.ModelMismatch) as caught:
        regressor(student, teacher)
    assert str(student) in str(caught.value)
    assert str(teacher) in str(caught.value)


def test_the_scale_of_its_answer_does_not_follow_the_students():
    project = regressor((5,), (7,))
    inputs = torch.randn(64, 5)
    torch.testing.assert_close(project(inputs), project(1000 * inputs), rtol=1e-3, atol=1e-3)
