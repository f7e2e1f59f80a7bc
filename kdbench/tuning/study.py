"""The search of one combo: what Optuna proposes, and what came of it.

A study is not stored. It proposes the same trials again for the same seed and the same results, and a trial is a run,
whose record is in the store: a search that was interrupted asks again, finds what is done, and goes on.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from kdbench.errors import InvalidParameter, PluginError
from kdbench.method import Method
from kdbench.plan import Run, varied
from kdbench.plugins import describe
from kdbench.records import Status, Summary
from kdbench.search import Search, plain_type

Sampler = Literal["tpe", "random"]
RANDOM_TRIALS = 8
"""After the defaults, and before the sampler learns from results."""
BATCH = 4
"""Trials of a study that are asked for before the results of any of them are told, and may run at the same time. It
does not depend on the number of workers, or the trials would."""
_DIGITS = 4
"""Significant digits of a number that is tried: so that it can be read, and typed again."""
LOSS = "log_loss"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: hyper-parameters, and what they scored on the validation split, mean over the seeds of the search.

    `recipe` holds recipe settings that were searched too; `value` is None where a run did not end well.
    """

    number: int
    """0 is the defaults."""
    params: dict[str, Any]
    recipe: dict[str, Any]
    status: Status
    error: str | None
    value: float | None
    loss: float | None


@dataclass(frozen=True)
class Proposal:
    """A trial to be run: once for each seed of the search; not at all where the method refuses the parameters."""

    number: int
    params: dict[str, Any]
    recipe: dict[str, Any]
    runs: tuple[Run, ...] = ()
    refused: str = ""
    handle: Any = field(default=None, repr=False)


class Study:
    """The trials of one combo."""

    def __init__(
        self,
        runs: Sequence[Run],
        method: type[Method],
        *,
        pinned: Mapping[str, Any],
        recipe_space: Mapping[str, Search],
        budget: int,
        metric: str,
        higher_is_better: bool,
        sampler: Sampler = "tpe",
    ) -> None:
        """Nothing is asked yet.

        Args:
            runs: the combo with its defaults, once for each seed of the search; the first seeds the sampler too.
            method: the combo's.
            pinned: hyper-parameters that the combo or `--set` gives, which are not searched.
            recipe_space: recipe fields that are searched for every method alike.
            budget: the number of trials; where there is nothing to search, one is all.
            metric: of the validation split, by its name in records.

        Raises: InvalidParameter for a search space that cannot be used.
        """
        self.base, self.method, self.metric, self.higher_is_better = runs[0], method, metric, higher_is_better
        self._runs = tuple(runs)
        space = method.search_space()
        fixed = {name: search.why for name, search in space.items() if search.fixed}
        self.not_searched = fixed | dict.fromkeys(pinned, "set")
        self.space = {name: search for name, search in space.items() if name not in self.not_searched}
        self.recipe_space = dict(recipe_space)
        self.sampler: Sampler = sampler
        searched = any(self._applies(search, self.base.params) for search in self.space.values()) or self.recipe_space
        self.budget = budget if searched else 1
        self.trials: list[Trial] = []
        self._asked = 0
        self._study = _optuna_study(sampler, _seed(runs[0]), "maximize" if higher_is_better else "minimize")

    @property
    def name(self) -> str:
        """The combo's."""
        return self.base.name

    def ask(self) -> list[Proposal]:
        """The next trials, independent of each other; none where the budget is spent. Tell them all, then ask again."""
        end = self.budget
        if self.sampler == "tpe":
            steps = max(0, -(-(self._asked - RANDOM_TRIALS) // BATCH)) if self._asked else 0
            end = min(end, 1 + RANDOM_TRIALS + steps * BATCH)
        proposals = [self._propose(number) for number in range(self._asked, end)]
        self._asked = end
        return proposals

    def tell(self, proposal: Proposal, summaries: Sequence[Summary]) -> None:
        """What came of a proposal's runs. Only the status, the error and the validation metrics are looked at."""
        from optuna.trial import TrialState

        trial = self._outcome(proposal, summaries)
        self.trials.append(trial)
        if trial.value is None:  # counts as the worst: the sampler keeps away from where training fails
            self._study.tell(proposal.handle, state=TrialState.PRUNED)
        else:
            self._study.tell(proposal.handle, trial.value)

    @property
    def best(self) -> Trial | None:
        """The best on validation: ties go to the lower log-loss there, then to the earlier trial."""
        done = [trial for trial in self.trials if trial.value is not None]
        return min(done, key=self._rank) if done else None

    @property
    def curve(self) -> list[float | None]:
        """The best value so far after each trial; None while none has ended well."""
        found: list[float | None] = []
        for trial in self.trials:
            so_far = [value for value in (*found[-1:], trial.value) if value is not None]
            found.append((max if self.higher_is_better else min)(so_far) if so_far else None)
        return found

    def final_run(self, default: Run) -> Run:
        """A final run of the combo with the best trial's parameters in the place of the defaults."""
        assert self.best is not None, "a study without a trial that ended well has nothing to run"
        return varied(default, self.method, self.best.params, self.best.recipe)

    def _rank(self, trial: Trial) -> tuple[float, float, int]:
        assert trial.value is not None
        loss = float("inf") if trial.loss is None else trial.loss
        return (-trial.value if self.higher_is_better else trial.value), loss, trial.number

    def _propose(self, number: int) -> Proposal:
        if number == 0:
            self._study.enqueue_trial(self._defaults())
        trial = self._study.ask()
        params: dict[str, Any] = {}
        for name, search in self.space.items():
            if self._applies(search, self.base.params | params):
                params[name] = self._suggest(trial, name, search, self.method.parameter_types()[name])
        recipe = {
            name: self._suggest(trial, f"recipe.{name}", search, float) for name, search in self.recipe_space.items()
        }
        if number == 0:  # to the last digit
            params, recipe = {}, {}
        try:
            runs = tuple(varied(run, self.method, params, recipe, trial=True) for run in self._runs)
        except InvalidParameter as error:
            return Proposal(number, params, recipe, refused=describe(error), handle=trial)
        return Proposal(number, params, recipe, runs, handle=trial)

    def _applies(self, search: Search, params: Mapping[str, Any]) -> bool:
        return search.when is None or params[search.when[0]] == search.when[1]

    def _defaults(self) -> dict[str, Any]:
        """Every parameter's default in Optuna's terms."""
        known = {
            name: _label(self.base.params[name]) if search.choices else self.base.params[name]
            for name, search in self.space.items()
        }
        return known | {f"recipe.{name}": getattr(self.base.recipe, name) for name in self.recipe_space}

    @staticmethod
    def _suggest(trial: Any, name: str, search: Search, hint: Any) -> Any:
        if search.choices:
            by_label = {_label(choice): choice for choice in search.choices}
            return by_label[trial.suggest_categorical(name, list(by_label))]
        assert search.low is not None
        assert search.high is not None
        if plain_type(hint) is int:
            return trial.suggest_int(name, int(search.low), int(search.high), log=search.log)
        value = float(f"{trial.suggest_float(name, search.low, search.high, log=search.log):.{_DIGITS}g}")
        return min(max(value, float(search.low)), float(search.high))

    def _outcome(self, proposal: Proposal, summaries: Sequence[Summary]) -> Trial:
        status: Status = "failed" if proposal.refused else "ok"
        error: str | None = proposal.refused or None
        values = []
        for summary in summaries:
            value = summary.val_metrics.get(self.metric)
            if summary.status != "ok":
                status, error = summary.status, summary.error or summary.status
            elif value is None:
                status, error = "failed", f"its {self.metric} on the validation split is not a number"
            else:
                values.append((value, summary.val_metrics.get(LOSS)))
        if status == "ok" and len(values) < len(proposal.runs):
            status, error = "failed", "a run has no record"
        losses = [loss for _, loss in values if loss is not None]
        return Trial(
            number=proposal.number,
            params=proposal.params,
            recipe=proposal.recipe,
            status=status,
            error=error,
            value=sum(value for value, _ in values) / len(values) if status == "ok" else None,
            loss=sum(losses) / len(losses) if status == "ok" and losses else None,
        )


def _label(choice: Any) -> str:
    return msgspec.json.encode(choice).decode()


def _seed(run: Run) -> int:
    """Of the sampler: the same for a combo whatever else is searched beside it."""
    text = msgspec.json.encode([run.seed, run.combo], order="deterministic")
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")


def _optuna_study(sampler: Sampler, seed: int, direction: str) -> Any:
    optuna = import_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made = (
            optuna.samplers.RandomSampler(seed=seed)
            if sampler == "random"
            # Trials at work count as bad ones, so that those of a batch differ; the defaults are the first of the
            # trials that it learns from.
            else optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=1 + RANDOM_TRIALS, multivariate=False, constant_liar=True
            )
        )
    return optuna.create_study(direction=direction, sampler=made)


def import_optuna() -> Any:
    """Optuna, without its log. Raises: PluginError with the command that installs it."""
    try:
        import optuna
    except ImportError as error:
        raise PluginError(
            "kdbench tune needs optuna, which is not installed", str(error), "pip install 'kdbench[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
