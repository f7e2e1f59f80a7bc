"""The tables of mlbench, from small files of the same format."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import kdbench
from kdbench.engine.datasets import prepare
from kdbench_tabular import MLBENCH, tables

rdata = pytest.importorskip("rdata")
TABLES = {
    "letter_recognition": ("LetterRecognition", "lettr", tables.LETTERS, 16),
    "satellite": ("Satellite", "classes", tables.COVERS, 36),
    "vehicle": ("Vehicle", "Class", tables.VEHICLES, 18),
}


@pytest.fixture
def write(monkeypatch, tmp_path):
    """Write a table of 6 items a class, its last row being a copy of its first; the rows and labels."""
    monkeypatch.setattr(kdbench, "source_path", lambda source: tmp_path if source is MLBENCH else None)

    def written(name):
        table, label, classes, columns = TABLES[name]
        stream = np.random.default_rng(0)
        rows = stream.integers(0, 200, size=(6 * len(classes), columns)).astype(np.float64)
        labels = [classes[n % len(classes)] for n in range(len(rows))]
        rows[-1], labels[-1] = rows[0], labels[0]
        frame = pd.DataFrame(rows, columns=[f"x.{n}" for n in range(columns)])
        frame[label] = pd.Categorical(labels, categories=sorted(classes))
        rdata.write_rda(tmp_path / f"{table}.rda", {table: frame})
        return rows, labels

    return written


@pytest.mark.parametrize("name", TABLES)
def test_rows_and_labels_are_those_of_the_file(write, name):
    rows, labels = write(name)
    data = getattr(tables, name)()
    np.testing.assert_array_equal(data.views()["input"], rows)
    assert [data.classes[index] for index in data.labels] == labels
    assert tuple(data.classes) == TABLES[name][2]


def test_letters_have_the_official_test_part_and_no_copy_of_it_in_train(write, monkeypatch):
    rows, _ = write("letter_recognition")
    monkeypatch.setattr(tables, "OFFICIAL_TRAIN", 104)
    ready = prepare("letters", tables.letter_recognition(), fold=None, folds=None)
    assert ready.test.index.tolist() == list(range(104, len(rows)))
    learnt = {rows[position].tobytes() for part in (ready.train, ready.validation) for position in part.index}
    assert not [position for position in ready.test.index if rows[position].tobytes() in learnt]


def test_a_class_that_the_task_does_not_have_is_named(write, tmp_path):
    write("vehicle")
    frame = pd.DataFrame({"Comp": [1.0], "Class": pd.Categorical(["tram"])})
    rdata.write_rda(tmp_path / "Vehicle.rda", {"Vehicle": frame})
    with pytest.raises(kdbench.InvalidData, match=r"'Vehicle', row 1, column 'Class': 'tram' is no class"):
        tables.vehicle()
