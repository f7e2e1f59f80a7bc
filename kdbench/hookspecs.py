"""Every hook a plugin can implement. Registration hooks get `register(name, target, **metadata)`.

`target` is an object or, to keep start-up fast, a "module:attr" string that is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.catalog import Register
    from kdbench.plan import Run
    from kdbench.records import Record

PROJECT = "kdbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kdbench_register_datasets(register: Register) -> None:
    """Datasets: `factory() -> kdbench.Data`; metadata: task (required), title, licence, fix (what gets it), sources.

    `sources` is a tuple of `kdbench.Source`: what `kdbench data fetch NAME` fetches, of datasets and of models.
    `measures` names metrics of the model by which all its runs are measured.
    """


@hookspec
def kdbench_register_teachers(register: Register) -> None:
    """Teachers: `build(dataset_info) -> nn.Module`; metadata: family, source, recipe (its own by default), sources."""


@hookspec
def kdbench_register_students(register: Register) -> None:
    """Students: `build(dataset_info) -> nn.Module`; metadata: family, source."""


@hookspec
def kdbench_register_methods(register: Register) -> None:
    """Methods: a `kdbench.Method` subclass; metadata: family, source, summary, and for the baselines of leaderboards:
    given (parameters that say what the student is given), undistilled (parameter values that leave the teacher out).
    """


@hookspec
def kdbench_register_recipes(register: Register) -> None:
    """Recipes: a `kdbench.Recipe`."""


@hookspec
def kdbench_register_combos(register: Register) -> None:
    """Combos: a `kdbench.Combo`; metadata: suites, published (`kdbench.Published`), on_request (not part of `--all`).

    `kdbench.grid(...)` makes the combos of a pair.
    """


@hookspec
def kdbench_register_metrics(register: Register) -> None:
    """Metrics: `metric(probabilities (N, C), labels (N,)) -> float`, NumPy; metadata: tasks, higher_is_better.

    Of a language-modeling task a row is a token that is scored; of a multi-label task labels are (N, C); of retrieval
    the first argument is the embeddings (N, D). With datasets=("name", ...) runs on these alone have it, others where
    they ask (`--measure NAME`). With chosen_on="validation" it is given the answers on the validation split too, where
    an operating point may be chosen: `metric(probabilities, labels, validation_probabilities, validation_labels)`.
    With scheme=True `factory(TEXT) -> metric` makes NAME:TEXT, which is asked for; NAME is `factory()`.

    With of="model" a metric that has to run the model, on the test split of the runs that ask for it (`--measure NAME`,
    a method's or a dataset's `measures`): `factory() -> metric(model, inputs (N, ...), labels (N,)) -> float`, torch,
    the model in evaluation mode. With scheme=True too, NAME:TEXT is `factory(TEXT)`. A factory raises
    `InvalidParameter` for a bad text; it is called to check a plan, without torch. Inputs that do not fit into memory
    come from disk: of them a metric takes `inputs[rows]` or `inputs.split(SIZE)`, which are tensors. With info=True
    the metric is also given `info=`, the DatasetInfo (whose class names are the vocabulary), with index=True `index=`,
    where the items are in the raw data, (N,); with shared=True `shared=`, a dict that the metrics of one model on one
    split share: what one has made of them another may use. With of_teacher=True the teacher is measured too, once. One
    that differentiates the model at its inputs says differentiates=True: of models without a gradient there it has no
    value, and is not called.
    """


@hookspec
def kdbench_register_executors(register: Register) -> None:
    """Executors: `execute(runs, context, events) -> None`; see kdbench.executors."""


@hookspec
def kdbench_register_report_formats(register: Register) -> None:
    """Report formats: `render(leaderboards) -> str`; metadata: extension."""


@hookspec
def kdbench_run_started(run: Run) -> None:
    """A run begins."""


@hookspec
def kdbench_epoch_finished(run: Run, epoch: int, logs: Mapping[str, float]) -> None:
    """An epoch ended: loss terms, val_loss, val_accuracy, lr."""


@hookspec
def kdbench_run_finished(run: Run, record: Record) -> None:
    """A run ended, well or not; its record is in the store."""
