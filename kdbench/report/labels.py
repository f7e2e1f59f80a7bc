"""Names for the rows of a leaderboard: as short as tells them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdbench.names import settings_text
from kdbench.records import Summary

if TYPE_CHECKING:
    from kdbench.report.leaderboard import Leaderboard
    from kdbench.report.tuned import TunedBoard


def board_title(board: Leaderboard | TunedBoard) -> str:
    """`digits: cnn-l → cnn-s`, each model with its view where it has one."""
    teacher = f"{board.teacher_view}:{board.teacher}" if board.teacher_view else board.teacher
    student = f"{board.student_view}:{board.student}" if board.student_view else board.student
    return f"{board.dataset}: {teacher} → {student}"


def row_labels(records: Sequence[Summary]) -> list[str]:
    """A label for each row, from one of its runs: the method, what was overridden, and `@recipe` where recipes differ.

    Rows that would still read the same show the parameters and recipe settings that differ between them.
    """
    recipes = {settings_text(r.recipe, r.recipe_overrides) for r in records}
    labels = [_label(r, r.overrides, r.recipe_overrides, with_recipe=len(recipes) > 1) for r in records]
    alike: dict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        alike[label].append(place)
    for places in alike.values():
        if len(places) > 1:
            params = _differing([records[place].params for place in places])
            settings = _differing([records[place].recipe_settings for place in places])
            for place, own_params, own_settings in zip(places, params, settings, strict=True):
                record = records[place]
                labels[place] = _label(
                    record,
                    record.overrides | own_params,
                    record.recipe_overrides | own_settings,
                    with_recipe=len(recipes) > 1 or bool(own_settings),
                )
    return labels


def _label(record: Summary, params: dict[str, Any], settings: dict[str, Any], *, with_recipe: bool) -> str:
    label = settings_text(record.method, params)
    return f"{label}@{settings_text(record.recipe, settings)}" if with_recipe else label


def _differing(mappings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each mapping, the items that not all of them have."""
    common = [key for key in mappings[0] if all(key in each and each[key] == mappings[0][key] for each in mappings)]
    return [{key: value for key, value in each.items() if key not in common} for each in mappings]
