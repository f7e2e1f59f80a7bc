"""Selection -> ordered runs with stable ids."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import msgspec

from kdbench.catalog import Catalog, Entry
from kdbench.combo import Combo
from kdbench.errors import (
    DeviceRefused,
    InvalidParameter,
    KdbenchError,
    MethodRefused,
    PluginError,
    UnknownName,
    UsageError,
)
from kdbench.method import Method
from kdbench.names import settings_text
from kdbench.published import Published
from kdbench.recipe import Recipe
from kdbench.records import SCHEMA
from kdbench.select import Selected, Selection, left_out, select
from kdbench.settings import Settings

_DESCRIPTIVE = {
    "name",
    "overrides",
    "recipe_overrides",
    "teacher_recipe_label",
    "student_source",
    "command",
    "published",
}


class Run(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One combo at one seed and fold, fully resolved: plain data that any worker can execute.

    `name` is the combo's; `params` every hyper-parameter of the method, `overrides` those that differ from the
    defaults; `student_source` tells whether the method scores a model made from the teacher; `folds` is None without
    cross-validation; `devices` processes train it together; `measures` are the metrics of the model that are asked for;
    `command` repeats it; `published` are the figures of papers for the combo, where it is run as it was registered.
    A `trial` of a search is scored on validation alone: its test split is not looked at, and no speed is measured.
    """

    name: str
    combo: Combo
    task: str
    params: dict[str, Any]
    overrides: dict[str, Any] = {}
    recipe: Recipe
    recipe_overrides: dict[str, Any] = {}
    teacher_recipe: Recipe
    teacher_recipe_label: str
    student_source: Literal["student", "teacher"] = "student"
    seed: int
    fold: int | None = None
    folds: int | None = None
    device: str = "cpu"
    devices: int = 1
    deterministic: bool = True
    measures: tuple[str, ...] = ()
    trial: bool = False
    command: str = ""
    published: tuple[Published, ...] = ()

    @property
    def device_kind(self) -> str:
        """The device without its number: cpu, cuda or mps."""
        return self.device.partition(":")[0]

    @cached_property
    def run_id(self) -> str:
        """Stable hash of everything that defines the result: 16 hex digits."""
        definition = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _DESCRIPTIVE}
        definition["combo"] = msgspec.structs.replace(self.combo, params={})  # they are a part of the run's own
        definition["device"] = self.device_kind
        if self.devices == 1:  # ids are those of the versions that knew one process only
            del definition["devices"]
        if not self.measures:
            del definition["measures"]
        if not self.trial:
            del definition["trial"]
        return _hash(definition)

    @cached_property
    def pair_id(self) -> str:
        """Stable hash of what `Method.check` looks at: runs that share it, seeds and folds, are refused together."""
        combo = self.combo
        models = [combo.dataset, combo.teacher, combo.student, combo.teacher_view, combo.student_view]
        trained = [self.recipe, self.devices, self.folds, combo.teacher_checkpoint, self.teacher_recipe]
        return _hash([*models, combo.method, self.params, *trained])

    @cached_property
    def teacher_id(self) -> str:
        """Stable hash of what this run's teacher is trained from: runs that share it share the teacher."""
        combo = self.combo
        parts = [combo.dataset, combo.teacher, combo.teacher_view, combo.teacher_checkpoint, self.teacher_recipe]
        together = [self.devices] if self.devices > 1 else []
        return _hash([*parts, self.fold, self.folds, self.device_kind, self.deterministic, *together])


@dataclass(frozen=True)
class NotRun:
    """A dataset or model that this machine lacks, with the command that gets it; or a combo that is refused."""

    name: str
    reason: str
    fix: str
    refused: bool = False

    def __str__(self) -> str:
        """`not run: NAME: reason; get it with: FIX`, or `not run: COMBO: reason; FIX`."""
        fix = self.fix if self.refused or not self.fix else f"get it with: {self.fix}"
        return f"not run: {self.name}: " + "; ".join(part for part in (self.reason, fix) if part)


@dataclass(frozen=True)
class Plan:
    """What a command will do: its runs in order, and what cannot be run here."""

    runs: tuple[Run, ...]
    not_run: tuple[NotRun, ...] = ()


@dataclass(frozen=True)
class Repeats:
    """How often each combo is run, where, and what is measured beside the metrics of its answers."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    folds: int | None = None
    device: str = "cpu"
    devices: int = 1
    deterministic: bool = True
    measures: tuple[str, ...] = ()


def make_plan(
    catalog: Catalog, selection: Selection, settings: Sequence[str] = (), repeats: Repeats = Repeats()
) -> Plan:
    """The runs of a selection: all seeds of a combo's dataset before the next dataset, methods side by side.

    Raises: UsageError and its kinds for anything that cannot be run as asked; nothing was started then.
    """
    if repeats.folds is not None and repeats.folds < 2:
        raise UsageError(f"--folds {repeats.folds}: cross-validation needs at least 2 folds")
    chosen = Settings.parse(settings)
    resolved: list[Run] = []
    not_run: dict[str, NotRun] = {}
    broken: list[KdbenchError] = []
    for registered in select(catalog, selection):
        selected = _renamed(registered, chosen)
        try:
            lacking = _lacking(catalog, selected)
            run = _resolve(catalog, selected, chosen, repeats)
        except (UnknownName, PluginError, DeviceRefused, MethodRefused) as error:
            broken.append(error)
            reason = f"{error.what}: {error.why}" if error.why else error.what
            lacking = NotRun(selected.name, reason, error.fix, refused=True)
        if lacking is None:
            resolved.append(run)
        else:
            not_run[lacking.name] = lacking
    if broken and not resolved:
        raise broken[0]
    for suite, combos in left_out(catalog, selection).items():
        reason = f"{combos} combos of this suite are run on request only"
        not_run[suite] = NotRun(suite, reason, f"kdbench run --suite {suite}")
    chosen.check_used()
    ordered = sorted(_repeat(resolved, repeats, settings), key=_order(resolved))
    return Plan(tuple({run.run_id: run for run in ordered}.values()), tuple(not_run.values()))


def varied(
    run: Run, method: type[Method], params: dict[str, Any], recipe: dict[str, Any], *, trial: bool = False
) -> Run:
    """The run with some hyper-parameters and recipe settings changed; its command says so too.

    Raises: InvalidParameter where the method refuses them.
    """
    made = method(**run.params | params)
    new = {name: value for name, value in recipe.items() if value != getattr(run.recipe, name)}
    sets = [f"{run.combo.method}.{name}={_json(made.params[name])}" for name in params]
    sets += [f"recipe.{name}={_json(value)}" for name, value in new.items()]
    return msgspec.structs.replace(
        run,
        params=made.params,
        overrides=made.changed,
        # Converted as `--set` does it, which makes a float of a 0: the ids are those of the same run so set.
        recipe=msgspec.convert(msgspec.to_builtins(run.recipe) | new, Recipe) if new else run.recipe,
        recipe_overrides=run.recipe_overrides | new,
        trial=trial,
        published=() if made.params != run.params or new else run.published,
        command=shlex.join([*shlex.split(run.command), *(part for text in sets for part in ("--set", text))]),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _renamed(selected: Selected, settings: Settings) -> Selected:
    """The same, by a name that tells the views that `--set` gives the models."""
    pair = settings.of_combo(selected.combo).pair
    return replace(selected, name=selected.name.replace(selected.combo.pair, pair))


def _lacking(catalog: Catalog, selected: Selected) -> NotRun | None:
    combo = selected.combo
    for kind, name in (("dataset", combo.dataset), ("teacher", combo.teacher), ("student", combo.student)):
        entry = catalog.find(kind, name)  # type: ignore[arg-type]
        if entry.missing:
            return NotRun(
                name, f"{kind} {name!r} needs {', '.join(entry.missing)}, not installed", entry.install_command
            )
    return None


def _resolve(catalog: Catalog, selected: Selected, settings: Settings, repeats: Repeats) -> Run:
    combo = settings.of_combo(selected.combo)
    method: type[Method] = catalog.find("method", combo.method).load()
    given = {**combo.params, **settings.of_method(combo.method, method, combo.params)}
    if combo.params:
        _check_registered(selected, method)
    try:
        made = method(**given)
    except InvalidParameter as error:
        raise InvalidParameter(f"method {combo.method!r}: {error.what}", error.why, error.fix) from error
    dataset = catalog.find("dataset", combo.dataset)
    measures = tuple(dict.fromkeys((*repeats.measures, *made.measures, *dataset.metadata.get("measures", ()))))
    for name in made.uses_models:
        catalog.find("student", name).check_installed()
    base: Recipe = catalog.find("recipe", combo.recipe).load()
    recipe = settings.of_recipe(base, "recipe", combo.recipe)
    teacher_name = combo.teacher_recipe or combo.recipe
    teacher_base: Recipe = catalog.find("recipe", teacher_name).load()
    teacher_recipe = settings.of_recipe(teacher_base, "teacher_recipe", teacher_name)
    task = dataset.metadata.get("task", "multiclass")
    for name in measures:
        load_measure(catalog, name, task)
    if task not in method.tasks:
        raise MethodRefused(
            f"method {combo.method!r} cannot run combo {selected.name!r}",
            f"it serves {', '.join(method.tasks)}; task of dataset {combo.dataset!r} is {task!r}",
            f"drop it with -k 'not {combo.method}'",
        )
    if method.student_from_teacher and combo.teacher_view != combo.student_view:
        raise MethodRefused(
            f"method {combo.method!r} cannot run combo {selected.name!r}",
            f"it scores a model made from the teacher, which sees view {combo.teacher_view!r}; the student's is "
            f"{combo.student_view!r}",
            f"choose a pair whose models share a view, or drop it with -k 'not {combo.method}'",
        )
    if repeats.devices > 1 and method.fit is not Method.fit and not method.parallel_fit:
        raise MethodRefused(
            f"method {combo.method!r} cannot run combo {selected.name!r} with --devices {repeats.devices}",
            "it takes over the whole training, and does not say (parallel_fit) that several processes can share it",
            f"run it with --devices 1, or drop it with -k 'not {combo.method}'",
        )
    for scope, trained_by in (("recipe", recipe), ("teacher_recipe", teacher_recipe)):
        if trained_by.precision == "16-mixed" and repeats.device == "cpu":
            raise DeviceRefused(
                f"combo {selected.name!r} cannot run on the CPU in precision '16-mixed'",
                f"its {scope.replace('_', ' ')} asks for float16, which is for GPUs",
                f"--set {scope}.precision=bf16-mixed, or --device cuda",
            )
    # A teacher that is loaded may be the paper's own: the figure stays, and tells what the paper's teacher scored.
    of_any_teacher = msgspec.structs.replace(combo, teacher_checkpoint=selected.combo.teacher_checkpoint)
    as_registered = bool(selected.published) and (of_any_teacher, made.params, recipe, teacher_recipe) == (
        selected.combo, method(**combo.params).params, base, teacher_base,
    )  # fmt: skip
    return Run(
        name=selected.name,
        combo=combo,
        task=task,
        params=made.params,
        overrides=made.changed,
        recipe=recipe,
        recipe_overrides=_changed(base, recipe),
        teacher_recipe=teacher_recipe,
        teacher_recipe_label=settings_text(teacher_name, _changed(teacher_base, teacher_recipe)),
        student_source="teacher" if method.student_from_teacher else "student",
        seed=0,
        device=repeats.device,
        devices=repeats.devices,
        deterministic=repeats.deterministic,
        measures=measures,
        command=shlex.join(("kdbench", "run", *selected.arguments)),
        published=selected.published if as_registered and repeats.folds is None else (),
    )


def load_measure(catalog: Catalog, name: str, task: str | None = None) -> Callable[..., Any]:
    """The metric that a run asks for by name: of the model, or of its answers where not every run has it anyway.

    Raises: UsageError for one that every run has, or that does not serve the task; InvalidParameter for a text after
    the colon that is none.
    """
    entry = catalog.find("metric", name)
    about = entry.metadata
    if not of_model(entry) and not about.get("scheme") and "datasets" not in about:
        raise UsageError(
            f"metric {name!r} cannot be asked for", "it is computed from the answers of every run", "leave it out"
        )
    if task is not None and task not in about.get("tasks", (task,)):
        raise UsageError(
            f"metric {name!r} cannot be asked for of task {task!r}", f"it serves {', '.join(about['tasks'])}"
        )
    return load_metric(entry)


def load_metric(entry: Entry) -> Callable[..., Any]:
    """The metric itself; those of the model, and those with a text after the colon, are made by a factory."""
    made: Callable[..., Any] = entry.load()
    metric: Callable[..., Any] = made() if of_model(entry) or entry.metadata.get("scheme") else made
    return metric


def of_model(entry: Entry) -> bool:
    """Whether a metric has to run the model, beside those that take its answers."""
    return entry.metadata.get("of") == "model"


def _check_registered(selected: Selected, method: type[Method]) -> None:
    try:
        method(**selected.combo.params)
    except InvalidParameter as error:
        raise PluginError(
            f"combo {selected.name!r} was registered with params that cannot be used", error.what
        ) from error


def _repeat(resolved: list[Run], repeats: Repeats, settings: Sequence[str]) -> Iterator[Run]:
    extra = [part for text in settings for part in ("--set", text)]
    if repeats.folds is not None:
        extra += ["--folds", str(repeats.folds)]
    extra += ["--device", repeats.device]
    if repeats.devices > 1:
        extra += ["--devices", str(repeats.devices)]
    extra += [part for name in repeats.measures for part in ("--measure", name)]
    if repeats.deterministic != (repeats.device == "cpu"):
        extra.append("--deterministic" if repeats.deterministic else "--no-deterministic")
    for run in resolved:
        for seed in repeats.seeds:
            for fold in range(repeats.folds) if repeats.folds is not None else (None,):
                command = f"{run.command} {shlex.join([*extra, '--seed', str(seed)])}"
                yield msgspec.structs.replace(run, seed=seed, fold=fold, folds=repeats.folds, command=command)


def _order(resolved: list[Run]) -> Any:
    datasets = {name: position for position, name in enumerate(dict.fromkeys(run.combo.dataset for run in resolved))}
    return lambda run: (datasets[run.combo.dataset], -1 if run.fold is None else run.fold, run.seed)


def _changed(base: Recipe, recipe: Recipe) -> dict[str, Any]:
    before, after = msgspec.to_builtins(base), msgspec.to_builtins(recipe)
    return {name: value for name, value in after.items() if value != before[name]}


def _hash(definition: Any) -> str:
    encoded = msgspec.json.encode({"schema": SCHEMA, "definition": definition}, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]
