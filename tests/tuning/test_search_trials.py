"""The trials of a search: equal budgets, the same for the same seed, on validation alone, whatever interrupts them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from searches import closeness, ended, executor, failed, studies

from kdbench.plugins import load_plugins
from kdbench.search import Search
from kdbench.store import Store
from kdbench.tuning.study import Study
from kdbench.tuning.trials import search


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "trials")


def never(text: str) -> None:
    raise AssertionError(text)


def spent(found: list[Study], store: Store, **options) -> list[Study]:
    """The studies, with their budgets spent."""
    _, carry_out = executor(store, **options)
    search(found, store, carry_out, warn=never)
    return found


def tried(study: Study) -> list[tuple[dict, dict]]:
    return [(trial.params, trial.recipe) for trial in study.trials]


def test_every_method_gets_the_same_number_of_trials_and_begins_with_its_defaults(small_catalog, store):
    lr = {"lr": Search(0.005, 0.5, log=True)}
    found = spent(studies(small_catalog, "scratch", "warm", "softened", recipe_space=lr), store)
    assert [len(study.trials) for study in found] == [12, 12, 12]
    for study in found:
        assert [trial.number for trial in study.trials] == list(range(12))
        assert tried(study)[0] == ({}, {})
    (default,) = [r for r in store.records() if r.method == "warm" and not r.overrides and not r.recipe_overrides]
    assert default.params == {"base": "kd", "temperature": 4.0, "alpha": 0.9, "steps": 2, "beta": 8.0}


def test_a_method_with_nothing_to_search_has_one_trial_unless_the_recipe_is_searched(small_catalog, store):
    (scratch,) = spent(studies(small_catalog, "scratch"), store)
    assert (scratch.budget, len(scratch.trials)) == (1, 1)
    (with_lr,) = spent(studies(small_catalog, "scratch", recipe_space={"lr": Search(0.005, 0.5, log=True)}), store)
    assert len(with_lr.trials) == 12
    rates = [trial.recipe["lr"] for trial in with_lr.trials[1:]]
    assert len(set(rates)) == 11
    assert all(0.005 <= rate <= 0.5 for rate in rates)


def test_trials_stay_in_the_declared_ranges_and_are_short_enough_to_type(small_catalog, store):
    (study,) = spent(studies(small_catalog, "warm", budget=30), store)
    for trial in study.trials[1:]:
        assert list(trial.params) == ["temperature", "alpha", "steps"]
        assert 1 <= trial.params["temperature"] <= 16
        assert 0 <= trial.params["alpha"] <= 1
        assert trial.params["steps"] in {1, 2, 3, 4, 5}
        assert trial.params["temperature"] == float(f"{trial.params['temperature']:.4g}")
    assert len({trial.params["steps"] for trial in study.trials[1:]}) > 1


def test_the_sampler_learns(small_catalog, store):
    (study,) = spent(studies(small_catalog, "warm", budget=41), store)
    assert study.best.params["temperature"] == pytest.approx(8, rel=0.1)
    late = [abs(math.log(trial.params["temperature"] / 8)) for trial in study.trials[21:]]
    early = [abs(math.log(trial.params["temperature"] / 8)) for trial in study.trials[1:9]]
    assert sum(late) / len(late) < sum(early) / len(early)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_gives_the_same_trials_whatever_else_is_searched(small_catalog, tmp_path, sampler):
    def one(name: str, *methods: str, seed: int = 1000) -> list[tuple[dict, dict]]:
        found = studies(small_catalog, *methods, sampler=sampler, tune_seeds=(seed,), budget=15)
        return tried(spent(found, Store.open(tmp_path / name))[-1])

    alone, beside, other = one("a", "warm"), one("b", "softened", "warm"), one("c", "warm", seed=1001)
    assert alone == beside
    assert alone[0] == other[0]
    assert alone[1:] != other[1:]


def test_the_order_in_which_runs_end_does_not_change_the_trials(small_catalog, tmp_path):
    (forward,) = spent(studies(small_catalog, "warm", budget=20), Store.open(tmp_path / "forward"))
    backward = Store.open(tmp_path / "backward")
    _, carry_out = executor(backward)
    (study,) = studies(small_catalog, "warm", budget=20)
    search([study], backward, lambda runs: carry_out(runs[::-1]), warn=never)
    assert study.trials == forward.trials


@pytest.mark.parametrize("stop_after", [0, 3, 12, 21])
def test_an_interrupted_search_goes_on_with_the_same_trials_and_repeats_none(
    small_catalog, tmp_path, store, stop_after
):
    whole = spent(studies(small_catalog, "warm", "softened"), Store.open(tmp_path / "whole"))
    executed, carry_out = executor(store, stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        search(studies(small_catalog, "warm", "softened"), store, carry_out, warn=never)
    again, carry_out = executor(store)
    continued = studies(small_catalog, "warm", "softened")
    search(continued, store, carry_out, warn=never)
    assert len(executed) == stop_after
    assert {run.run_id for run in executed}.isdisjoint(run.run_id for run in again)
    assert [study.trials for study in continued] == [study.trials for study in whole]


def test_a_finished_search_executes_nothing_and_a_fresh_one_everything(small_catalog, store):
    before = spent(studies(small_catalog, "warm"), store)
    executed, carry_out = executor(store)
    after = studies(small_catalog, "warm")
    search(after, store, carry_out, warn=never)
    assert executed == []
    assert after[0].trials == before[0].trials
    search(studies(small_catalog, "warm"), store, carry_out, fresh=True, warn=never)
    assert len(executed) == 12


@pytest.mark.parametrize("first", [5, 9, 11])
def test_a_larger_budget_continues_a_smaller_one(small_catalog, store, first):
    (small,) = spent(studies(small_catalog, "warm", budget=first), store)
    executed, carry_out = executor(store)
    (large,) = studies(small_catalog, "warm", budget=20)
    search([large], store, carry_out, warn=never)
    assert large.trials[:first] == small.trials
    assert len(executed) == 20 - first


def test_test_metrics_are_never_looked_at(small_catalog):
    class Blind(SimpleNamespace):
        def __getattr__(self, name: str):
            raise AssertionError(f"a search looked at {name!r} of a record")

    (study,) = studies(small_catalog, "warm")
    while proposals := study.ask():
        for number, proposal in enumerate(proposals):
            seen = Blind(status="ok", error=None, val_metrics={"accuracy": number / 10, "log_loss": 0.5})
            study.tell(proposal, [seen])
    assert study.best.value == 0.8


def test_the_test_metrics_of_records_change_nothing(small_catalog, tmp_path):
    honest, misleading = Store.open(tmp_path / "honest"), Store.open(tmp_path / "misleading")
    (one,) = spent(studies(small_catalog, "warm"), honest)

    def record(run):
        return ended(run, closeness(run), metrics={"accuracy": 1 - closeness(run)})

    (other,) = spent(studies(small_catalog, "warm"), misleading, record=record)
    assert one.trials == other.trials


def test_trials_that_do_not_end_well_count_and_stop_nothing(small_catalog, store):
    def record(run):
        if run.params["temperature"] > 9:
            return failed(run, "diverged")
        return failed(run) if run.params["temperature"] < 2 else ended(run, closeness(run))

    (study,) = spent(studies(small_catalog, "warm", budget=25), store, record=record)
    assert len(study.trials) == 25
    statuses = [trial.status for trial in study.trials]
    assert {"ok", "diverged", "failed"} == set(statuses)
    for trial in study.trials:
        assert (trial.value is None) == (trial.status != "ok")
        assert trial.error == (None if trial.status == "ok" else "ValueError: no")
    assert 2 <= study.best.params["temperature"] <= 9


def test_a_failed_trial_is_not_tried_again_but_a_search_that_never_began_to_succeed_is(small_catalog, store):
    spent(studies(small_catalog, "warm"), store, record=failed)
    executed, carry_out = executor(store, lambda run: failed(run) if run.params["temperature"] > 8 else ended(run, 0.5))
    search(studies(small_catalog, "warm"), store, carry_out, warn=never)
    assert len(executed) >= 9, "the first trials had all failed"
    (warm,) = studies(small_catalog, "warm")
    search([warm], store, lambda runs: never("nothing is left to run"), warn=never)
    assert {"ok", "failed"} == {trial.status for trial in warm.trials}


def test_parameters_that_the_method_refuses_are_a_failed_trial_without_a_run(small_catalog, store):
    executed, carry_out = executor(store)
    (study,) = studies(small_catalog, "picky", budget=20)
    search([study], store, carry_out, warn=never)
    refused = [trial for trial in study.trials if trial.params.get("temperature", 4) > 6]
    assert refused
    assert all((trial.status, trial.error) == ("failed", "too hot") for trial in refused)
    assert len(executed) == 20 - len(refused)


def test_what_is_set_is_not_searched_and_decides_what_else_is(small_catalog, store):
    settings = ("warm.base=dkd", "warm.alpha=0.5")
    (study,) = spent(studies(small_catalog, "warm", settings=settings, pinned={"base": "dkd", "alpha": 0.5}), store)
    assert all(list(trial.params) == ["temperature", "steps", "beta"] for trial in study.trials[1:])
    assert all(r.params["base"] == "dkd" and r.params["alpha"] == 0.5 for r in store.records())
    assert study.not_searched == {"base": "set", "alpha": "set"}


def test_a_trial_is_the_mean_over_the_seeds_of_the_search(small_catalog, store):
    def record(run):
        if run.params["temperature"] < 12:
            return ended(run, run.seed / 10)
        return ended(run, 0.9) if run.seed == 3 else failed(run, "timeout")

    (study,) = spent(studies(small_catalog, "warm", tune_seeds=(3, 4), budget=20), store, record=record)
    hot = [trial for trial in study.trials if trial.params.get("temperature", 4) >= 12]
    assert hot
    assert all((trial.status, trial.value) == ("timeout", None) for trial in hot)
    assert all(trial.value == pytest.approx(0.35) for trial in study.trials if trial not in hot)
    assert len(store.records()) == 40


def test_the_best_trial_is_the_first_with_the_best_value_and_the_lowest_loss_of_those(small_catalog):
    def scored(*values: tuple[float, float], higher: bool = True) -> Study:
        (study,) = studies(small_catalog, "warm", budget=len(values), higher_is_better=higher)
        for proposal, (value, loss) in zip(study.ask(), values, strict=True):
            metrics = {"accuracy": value, "log_loss": loss}
            study.tell(proposal, [SimpleNamespace(status="ok", error=None, val_metrics=metrics)])
        return study

    assert scored((0.5, 1), (0.7, 1), (0.7, 0.5), (0.7, 0.5), (0.6, 0.1)).best.number == 2
    assert scored((0.5, 1), (0.7, 1), (0.4, 2), higher=False).best.number == 2
    assert scored((0.5, 1), (0.7, 1), (0.6, 1)).curve == [0.5, 0.7, 0.7]
    assert scored((0.5, 1), (0.7, 1), (0.4, 1), higher=False).curve == [0.5, 0.5, 0.4]


def test_a_curve_begins_where_a_trial_ends_well(small_catalog, store):
    def record(run):
        return ended(run, 0.5) if run.overrides else failed(run)

    (study,) = spent(studies(small_catalog, "warm", budget=4), store, record=record)
    assert study.curve == [None, 0.5, 0.5, 0.5]


def test_a_damaged_record_is_told_and_its_trial_done_again(small_catalog, store):
    (before,) = spent(studies(small_catalog, "warm"), store)
    path = sorted((store.directory / "runs").glob("*/record.json"))[0]
    path.write_bytes(b"{")
    said: list[str] = []
    executed, carry_out = executor(store)
    (after,) = studies(small_catalog, "warm")
    search([after], store, carry_out, warn=said.append)
    assert [run.run_id for run in executed] == [path.parent.name]
    assert "is damaged" in said[0]
    assert after.trials == before.trials


def test_a_final_run_has_the_best_parameters_and_a_command_that_says_them(small_catalog, store):
    lr = {"lr": Search(0.005, 0.5, log=True)}
    (study,) = spent(studies(small_catalog, "warm", recipe_space=lr), store)
    default = study.base
    final = study.final_run(default)
    assert not final.trial
    assert final.run_id != default.run_id
    assert final.params == {**default.params, **study.best.params}
    assert final.overrides == {k: v for k, v in study.best.params.items() if v != default.params[k]}
    assert final.recipe.lr == study.best.recipe["lr"]
    assert f"--set warm.temperature={study.best.params['temperature']}" in final.command
    assert f"--set recipe.lr={study.best.recipe['lr']}" in final.command


@pytest.mark.parametrize(
    ("method", "pinned"),
    [
        ("crd", {}), ("crd", {"pool": "batch"}), ("lskd", {}), ("lskd", {"base": "dkd"}), ("low_rank", {}),
        ("low_rank", {"energy": 0.9}), ("distil_then_quantise", {"scheme": "dynamic"}), ("gupta", {}),
        ("early_stop_kd", {}), ("early_stop_kd", {"distil": 0.01}),
    ],
)  # fmt: skip
def test_no_trial_is_proposed_that_a_method_refuses(method, pinned):
    settings = tuple(f"{method}.{name}={value}" for name, value in pinned.items())
    (study,) = studies(load_plugins().catalog, method, settings=settings, pinned=pinned, budget=60, sampler="random")
    proposals = study.ask()
    assert len(proposals) == study.budget == 60
    assert [proposal.refused for proposal in proposals] == [""] * 60
