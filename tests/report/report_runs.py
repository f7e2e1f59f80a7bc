"""Runs for the tests of reports."""

from __future__ import annotations

from kdbench.records import Cost, Provenance, Record, Throughput


def a_run(method: str = "kd", seed: int = 0, value: float | None = 0.9, **changes) -> Record:
    """A run; without a value, one that failed before it read its data."""
    ended_well = value is not None
    fields = {
        "run_id": f"{method}-{seed}-{changes.get('fold')}", "combo": f"digits/big->small/{method}", "dataset": "digits",
        "teacher": "big", "student": "small", "method": method, "recipe": "standard", "teacher_recipe": "standard",
        "seed": seed, "status": "ok" if ended_well else "failed", "error": None if ended_well else "ValueError: no",
        "metrics": {"accuracy": value} if ended_well else {},
        "teacher_metrics": {"accuracy": 0.98} if ended_well else {},
        "throughput": Throughput(train_samples_per_s=1000.0, inference_samples_per_s={"1": 9.0, "64": 5000.0}),
        "cost": Cost(parameters=100, teacher_parameters=1000, seconds={"train": 2.0}),
        "provenance": Provenance(
            kdbench="1", device="cpu", threads=1, dataset_fingerprint="d1" if ended_well else "",
            teacher_fingerprint="t1" if ended_well else "",
        ),
        "started": "2026-01-01T00:00:00.000+00:00", "finished": "2026-01-01T00:00:01.000+00:00",
    }  # fmt: skip
    return Record(**fields | changes)
