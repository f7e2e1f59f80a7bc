"""A papers' benchmark: pairs, methods with their weights, recipes and published figures; how it is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import kdbench


class Table(NamedTuple):
    """Accuracies of one source in per cent, by method and pair, as printed; errors where `errors` says so.

    `teachers` are those of the source, by name, in the same unit.
    """

    source: str
    protocol: str
    figures: Mapping[str, Mapping[str, float]]
    teachers: Mapping[str, float]
    errors: bool = False

    def published(self, pair: str, method: str) -> kdbench.Published | None:
        """The figure of `teacher->student` by a method, as an accuracy; None where the table has none."""
        value = self.figures.get(method, {}).get(pair)
        if value is None:
            return None
        teacher = self.teachers.get(pair.partition("->")[0])
        return kdbench.Published(
            metric="accuracy",
            value=self._share(value),
            source=self.source,
            protocol=f"an error of {value:g} %; {self.protocol}" if self.errors else self.protocol,
            teacher=None if teacher is None else self._share(teacher),
        )

    def _share(self, value: float) -> float:
        return round((100 - value if self.errors else value) / 100, 6)


class Benchmark(NamedTuple):
    """One suite.

    Args:
        suite: its name, and that of its dataset.
        pairs: each as `teacher->student`.
        methods: of a pair.
        params: the hyper-parameters of a method on a pair.
        recipe: the name of the recipe that trains a student.
        teacher_recipe: the name of the one that trains teachers.
        tables: where figures are looked for, in this order.
    """

    suite: str
    pairs: tuple[str, ...]
    methods: Callable[[str], list[str]]
    params: Callable[[str, str], dict[str, Any]]
    recipe: Callable[[str], str]
    teacher_recipe: str
    tables: tuple[Table, ...] = ()

    def published(self, pair: str, method: str) -> kdbench.Published | None:
        """The figure of `teacher->student` by a method; None where we know of none."""
        return next((figure for table in self.tables if (figure := table.published(pair, method))), None)

    def register(self, register: Callable[..., None]) -> None:
        """Every combo, on request only: they take a GPU."""
        for pair in self.pairs:
            teacher, _, student = pair.partition("->")
            methods = self.methods(pair)
            for name, combo in kdbench.grid(
                methods=methods,
                recipes=[self.recipe(student)],
                params={method: self.params(pair, method) for method in methods},
                dataset=self.suite,
                teacher=teacher,
                student=student,
                teacher_recipe=self.teacher_recipe,
            ):
                figure = self.published(pair, combo.method)
                register(name, combo, suites=[self.suite], on_request=True, published=() if figure is None else figure)
