"""What a method is told of its models and data, and which runs it refuses before anything is trained."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from kdbench.engine.answering import all_items, came_trained, check_it_can_serve, is_fitted, only_answers
from kdbench.engine.differentiable import check_gradient, differentiated
from kdbench.engine.models import Maker, Side, build_model, inspect_model
from kdbench.engine.teachers import steps_per_epoch
from kdbench.errors import KdbenchError, MethodRefused
from kdbench.method import Method, Pair, View
from kdbench.plugins import describe

if TYPE_CHECKING:
    from kdbench.catalog import Catalog
    from kdbench.engine.context import RunContext, RunData
    from kdbench.plan import Run

_MODELS_KEPT = 8
"""Untrained models that are kept while one dataset's pairs are looked at: most share their teacher or student."""


def make_pair(
    run: Run, catalog: Catalog, data: RunData, student: nn.Module, teacher: nn.Module, method: Method
) -> Pair:
    """Both models with the shapes of the features that the method needs, a pair that it can serve.

    Raises: ModelMismatch; MethodRefused for a model that only answers, or has no gradient, where the method wants more,
    and as `check_served` does.
    """
    combo, dataset, recipe, needs = run.combo, data.dataset, run.recipe, method.needs
    check_it_can_serve(method, combo.method, teacher, combo.teacher)
    if is_fitted(teacher):
        all_items(data.train.teacher, combo.teacher)
    info, teacher_info = dataset.info(combo.student_view), dataset.info(combo.teacher_view)
    entry, teacher_entry = catalog.find("student", combo.student), catalog.find("teacher", combo.teacher)
    example, teacher_example = data.train.student[:2], data.train.teacher[:2]
    items = len(data.train.labels)
    in_epochs = not (only_answers(teacher) or came_trained(combo, teacher_entry, teacher))
    batch = min(recipe.batch_size, items)
    inspected = inspect_model(student, entry, info, example, needs.student_features)
    inspected_teacher = inspect_model(teacher, teacher_entry, teacher_info, teacher_example, needs.teacher_features)
    models = {"student": student, "teacher": teacher}
    sides: dict[View, Side] = {
        "student": Side(entry, info, example), "teacher": Side(teacher_entry, teacher_info, teacher_example)
    }  # fmt: skip
    for view in differentiated(method):
        check_gradient(combo.method, view, models[view], sides[view])
    pair = Pair(
        dataset=info,
        student=inspected,
        teacher=inspected_teacher,
        epochs=recipe.epochs,
        steps_per_epoch=steps_per_epoch(items, recipe.batch_size),
        batch_size=batch if batch < 2 * run.devices else batch // run.devices,  # as Peers.share gives them out
        shared_view=dataset.view(combo.student_view) == dataset.view(combo.teacher_view),
        teacher_dataset=teacher_info,
        recipe=recipe,
        teacher_recipe=run.teacher_recipe if in_epochs else None,
        maker=Maker(catalog, sides, run.seed),
    )
    check_served(method, combo.method, pair)
    return pair


def check_served(method: Method, name: str, pair: Pair) -> None:
    """Refuse a pair that the method cannot serve, and a training after which the student could not answer.

    Raises: MethodRefused.
    """
    method.check(pair)
    if method.learns_answers or pair.recipe.finetune_epochs:
        return
    given = [f"{name}.{key}={value}" for key, value in method.changed.items()]
    raise MethodRefused(
        f"method {name!r} cannot serve this pair: what answers would never be trained",
        "it matches features alone, and the recipe has no final fine-tune",
        " ".join(["--set recipe.finetune_epochs=20", *(["or leave out", *given] if given else [])]),
    )


def refusals(runs: Sequence[Run], context: RunContext) -> dict[str, str]:
    """Why runs of one dataset cannot be served, by run id: models that do not fit, features that they lack, `check`.

    Models are built untrained, once for all runs. What goes wrong in other ways, data that cannot be read among them,
    is left to the runs, which tell it in their records.
    """
    device = torch.device("cpu")

    @lru_cache(_MODELS_KEPT)
    def model(kind: str, name: str, view: str | None, fold: int | None) -> nn.Module:
        entry = context.catalog.find(kind, name)  # type: ignore[arg-type]
        return build_model(entry, data.dataset.info(view))

    found: dict[str, str] = {}
    for run in runs:
        combo = run.combo
        try:
            data = context.data(run, device)
        except Exception:  # noqa: BLE001 - damaged data is its runs' failure, told in their records
            continue
        try:
            method: Method = context.catalog.find("method", combo.method).load()(**run.params)
            student = model("student", combo.student, combo.student_view, run.fold)
            teacher = model("teacher", combo.teacher, combo.teacher_view, run.fold)
            make_pair(run, context.catalog, data, student, teacher, method)
        except KdbenchError as error:
            found[run.run_id] = f"refused before any training: {describe(error)}"
        except Exception:  # noqa: BLE001 - a fault of the plugin's, which the run itself runs into
            traceback.print_exc()  # whole, into the worker's log
    return found
