import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.errors import UsageError
from kdbench.expression import compile_expression

NAME = "digits/cnn-l->cnn-s/kd"


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("kd", True),
        ("KD", True),
        ("wine", False),
        ("not wine", True),
        ("digits and kd", True),
        ("digits and not kd", False),
        ("wine or digits", True),
        ("not (wine or fitnet) and ->cnn-s/", True),
        ("wine and kd or digits", True),
        ("wine and (kd or digits)", False),
    ],
)
def test_words_are_looked_for_in_the_name(expression, matches):
    assert compile_expression(expression)(NAME) is matches


@pytest.mark.parametrize("expression", ["", "and", "kd and", "(kd", "kd fitnet", "kd (digits)", "not", "or kd"])
def test_a_malformed_expression_is_refused_with_an_example(expression):
    with pytest.raises(UsageError, match="is not an expression"):
        compile_expression(expression)


words = st.text(alphabet="abcdw0/-.>", min_size=1, max_size=4)


@given(words, words, st.text(alphabet="abcdw0/-.>", max_size=8))
def test_and_or_not_follow_boolean_algebra(first, second, name):
    a, b = first in name, second in name
    assert compile_expression(f"{first} and {second}")(name) is (a and b)
    assert compile_expression(f"{first} or not {second}")(name) is (a or not b)
    assert compile_expression(f"not ({first} or {second})")(name) is not (a or b)
