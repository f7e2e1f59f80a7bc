"""How often each teacher of a results directory was run on its training items: once for all methods and seeds.

    python tests/benchmarks/teacher_passes.py kdbench-results

Prints, for each dataset and pair, the runs that read the teacher, the items of its train split, and the items that the
teacher was run on in all of these runs together.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.engine.datasets import prepare, read
from kdbench.plugins import load_plugins
from kdbench.store import Store


def main(directory: Path) -> None:
    catalog = load_plugins().catalog
    boards = defaultdict(list)
    for record in Store.open(directory, create=False).summaries():
        if record.status == "ok" and record.fold is None:
            boards[record.dataset, record.teacher, record.student, record.provenance.teacher_fingerprint].append(record)
    print(f"{'dataset: pair':40} {'runs':>5} {'methods':>8} {'train items':>12} {'teacher ran on':>15} {'passes':>7}")
    for (dataset, teacher, student, _), records in sorted(boards.items()):
        items, ran_on = train_items(catalog, dataset), sum(r.cost.teacher_forward_samples for r in records)
        methods = len({record.method for record in records})
        pair = f"{dataset}: {teacher} -> {student}"
        print(f"{pair:40} {len(records):5} {methods:8} {items:12} {ran_on:15} {ran_on / items:7.2f}")


def train_items(catalog: Catalog, dataset: str) -> int:
    return len(prepare(dataset, read(catalog.find("dataset", dataset)), fold=None, folds=None).train.labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
