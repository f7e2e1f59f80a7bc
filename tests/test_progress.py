"""What a finished run says in one line."""

from __future__ import annotations

import msgspec
import pytest

from kdbench.outcomes import failure_record
from kdbench.plan import Repeats, make_plan
from kdbench.progress import describe
from kdbench.select import Selection


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"log_loss": 0.5, "accuracy": 0.25}, "accuracy 0.2500"),
        ({"precision_at_1": 0.0, "mrr": 0.5}, "P@1 0.0000"),
        ({"of a plugin": 2.0}, "of a plugin 2.0000"),
        ({}, "accuracy nan"),
    ],
)
def test_a_run_is_told_by_its_accuracy_or_by_the_first_metric_of_its_task(small_catalog, metrics, said):
    run = make_plan(small_catalog, Selection(all=True), repeats=Repeats(seeds=(0,))).runs[0]
    record = msgspec.structs.replace(failure_record(run, "ok", "", "2026-01-01T00:00:00.000+00:00"), metrics=metrics)
    assert describe(run, record) == f"{run.name} seed 0: {said}, trained in 0.0 s"
