"""A combo: what is distilled into what, on which data, how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec


class Combo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One (dataset, teacher, student, method, recipe), by registered names.

    `teacher_recipe` trains the teacher (the same recipe where absent); `teacher_checkpoint` loads it instead. The views
    choose what each model sees of a multi-view dataset (the only view where absent).
    """

    dataset: str
    teacher: str
    student: str
    method: str
    recipe: str
    params: dict[str, Any] = {}
    teacher_recipe: str | None = None
    teacher_checkpoint: str | None = None
    teacher_view: str | None = None
    student_view: str | None = None

    @property
    def pair(self) -> str:
        """`teacher->student`, each with its view where it has one: `fac:mlp-l->mor:mlp-s`."""
        teacher = f"{self.teacher_view}:{self.teacher}" if self.teacher_view else self.teacher
        student = f"{self.student_view}:{self.student}" if self.student_view else self.student
        return f"{teacher}->{student}"

    @property
    def default_name(self) -> str:
        """`dataset/teacher->student/method`, the name that `grid` registers it under."""
        return f"{self.dataset}/{self.pair}/{self.method}"


def grid(
    *, methods: Iterable[str], recipes: Iterable[str], params: Mapping[str, dict[str, Any]] | None = None, **pair: Any
) -> Iterator[tuple[str, Combo]]:
    """Combos of one pair for every method and recipe, with stable names.

    The first recipe is the pair's own; the others' names end in `@recipe`. `params` holds overrides by method; `pair`
    the other fields of Combo.
    """
    for position, recipe in enumerate(recipes):
        for method in methods:
            combo = Combo(method=method, recipe=recipe, params=(params or {}).get(method, {}), **pair)
            yield combo.default_name + (f"@{recipe}" if position else ""), combo
