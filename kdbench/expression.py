"""Boolean expressions over names, as in `-k "digits and not fitnet"`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from kdbench.errors import UsageError

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_WORDS = {"and", "or", "not", "(", ")"}


def compile_expression(text: str) -> Callable[[str], bool]:
    """A predicate on names: each word of the expression must occur in the name, whatever its case.

    `and`, `or`, `not` and parentheses combine words; a word is anything else without spaces.

    Raises: UsageError where the expression is malformed.
    """
    words: list[str] = []
    source: list[str] = []
    for token in _TOKEN.findall(text):
        if token in _WORDS:
            source.append(token)
        else:
            source.append(f"w{len(words)}")
            words.append(token.lower())
    try:
        tree = ast.parse(" ".join(source), mode="eval").body
    except SyntaxError as error:
        raise UsageError(
            f"-k {text!r} is not an expression",
            "words are joined by 'and', 'or', 'not' and parentheses",
            "for example: -k 'digits and not fitnet'",
        ) from error
    if any(isinstance(node, ast.Call) for node in ast.walk(tree)):
        raise UsageError(f"-k {text!r} is not an expression", "'and' or 'or' is missing before a parenthesis")
    return lambda name: _holds(tree, words, name.lower())


def _holds(node: ast.expr, words: list[str], name: str) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_holds(value, words, name) for value in values)
        case ast.BoolOp(values=values):
            return any(_holds(value, words, name) for value in values)
        case ast.UnaryOp(operand=operand):
            return not _holds(operand, words, name)
        case ast.Name(id=word):
            return words[int(word[1:])] in name
    raise AssertionError(ast.dump(node))
