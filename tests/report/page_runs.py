"""Stores of runs for the tests of the page."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from report_runs import a_run

from kdbench.predictions import pack_arrays
from kdbench.records import Record, encode
from kdbench.report.baselines import Twins
from kdbench.report.leaderboard import leaderboards
from kdbench.report.page.document import render_page
from kdbench.store import Store

METHODS = ("scratch", "kd", "dkd", "fitnet")
FAMILIES = {"scratch": "baseline", "kd": "logit", "dkd": "logit", "fitnet": "feature"}
ITEMS, CLASSES = 60, 4
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> &amp; {{7*7}} ${1} javascript:alert(1)"
RIGHT_TO_LEFT, EMOJI, LONG = "מורה ← תלמיד \u202e", "🧑‍🏫→🧒 👩‍👩‍👧", "long-" * 2000


def answers(seed: int, skill: float) -> dict[str, np.ndarray]:
    """Predictions of the same items by a model of some skill."""
    labels = np.arange(ITEMS) % CLASSES
    logits = np.random.default_rng(seed).normal(size=(ITEMS, CLASSES)) + skill * np.eye(CLASSES)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {"probabilities": probabilities.astype(np.float32), "labels": labels}


def record(method: str, seed: int, dataset: str, value: float | None, **changes) -> Record:
    """A run with a history, costs, and the command that repeats it."""
    run_id = f"{zlib.crc32(f'{dataset} {method} {seed}'.encode()):08x}"
    base = a_run(method, seed, value)
    history = [
        {"epoch": float(e), "loss": 1 / (e + 1), "val_accuracy": 0.5 + 0.04 * e, "val_loss": 1 - 0.05 * e}
        for e in range(9)
    ]
    fields = {
        "run_id": f"r{run_id}", "dataset": dataset, "combo": f"{dataset}/big->small/{method}",
        "params": {"temperature": 4.0}, "recipe_settings": {"epochs": 9}, "history": [] if value is None else history,
        "metrics": {} if value is None else {"accuracy": value, "f1_macro": value - 0.01, "log_loss": 1 - value},
        "selected_epoch": None if value is None else 8, "confusion": [] if value is None else [[9, 1], [2, 8]],
        "val_metrics": {} if value is None else {"accuracy": value},
    }  # fmt: skip
    changed = {name: getattr(base, name) for name in base.__struct_fields__} | fields | changes
    changed["provenance"].command = f"kdbench run '{changed['combo']}' --device cpu --seed {seed}"
    return type(base)(**changed)


def fill(store: Store, datasets: int = 6, seeds: int = 3) -> None:
    """Several datasets with the same methods; predictions on the first one, and a failed run."""
    chance = np.random.default_rng(0)
    for number in range(datasets):
        for place, method in enumerate(METHODS):
            for seed in range(seeds):
                value = float(0.8 + 0.02 * place + 0.01 * number + chance.normal(0, 0.006))
                kept = answers(seed, 1 + place / 2) if number == 0 else None
                keep(store, record(method, seed, f"data{number}", value), kept)
    keep(store, record("ofd", 0, "data0", None, error="ValueError: layer 'last' <b>is not there</b>"))


def keep(store: Store, run: Record, arrays: dict[str, np.ndarray] | None = None) -> None:
    """Into the store, without the flushing that makes real writes slow."""
    place = store.directory / "runs" / run.run_id
    place.mkdir()
    (place / "record.json").write_bytes(encode(run))
    if arrays:
        (place / "predictions.npz").write_bytes(pack_arrays(arrays))


def write_page(
    directory: Path, store: Store | None = None, records: list[Record] | None = None, twins: Mapping[str, Twins] = {}
) -> Path:
    """The page of a store, or of records alone, as a file."""
    summaries = store.summaries() if store is not None else records
    path = directory / "page.html"
    path.write_text(render_page(summaries, leaderboards(summaries, twins=twins), store, families=FAMILIES), "utf-8")
    return path
