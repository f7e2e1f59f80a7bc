import numpy as np
import pandas as pd
import pytest

import kdbench
from kdbench_tabular.mlbench import features_and_labels, read_table

rdata = pytest.importorskip("rdata")


@pytest.fixture
def table():
    kinds = pd.Categorical(["van", "bus", "van"], categories=["bus", "van"])
    return pd.DataFrame({"Comp": [95.0, 91.0, 104.5], "Class": kinds, "Circ": [48.0, 41.0, 50.0]})


def write(table, directory, name="Vehicle"):
    path = directory / "usr" / "data" / f"{name}.rda"
    path.parent.mkdir(parents=True)
    rdata.write_rda(path, {name: table})
    return path


def test_a_table_of_the_real_format_is_read_with_its_columns_and_factor(tmp_path, table):
    write(table, tmp_path)
    read = read_table(tmp_path, "Vehicle")
    assert list(read.columns) == ["Comp", "Class", "Circ"]
    inputs, labels, classes = features_and_labels(read, "Class", "Vehicle")
    assert classes == ("bus", "van")
    assert labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(inputs, [[95, 48], [91, 41], [104.5, 50]])


def test_a_table_that_is_not_there_is_not_available(tmp_path):
    with pytest.raises(kdbench.DataNotAvailable, match=r"Vehicle\.rda"):
        read_table(tmp_path, "Vehicle")


def test_a_truncated_file_is_refused_by_path(tmp_path, table):
    path = write(table, tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(kdbench.InvalidData, match=r"Vehicle\.rda cannot be read"):
        read_table(tmp_path, "Vehicle")


def test_a_file_of_another_table_is_refused(tmp_path, table):
    write(table, tmp_path).rename(tmp_path / "Glass.rda")
    with pytest.raises(kdbench.InvalidData, match=r"no table 'Glass'[^$]*holds: Vehicle"):
        read_table(tmp_path, "Glass")


def test_a_missing_column_is_named(table):
    with pytest.raises(kdbench.InvalidData, match="no column 'Klass'"):
        features_and_labels(table, "Klass", "Vehicle")


def test_a_label_outside_the_class_list_is_named_by_row(table):
    with pytest.raises(kdbench.InvalidData, match=r"row 2, column 'Class': 'bus' is no class"):
        features_and_labels(table, "Class", "Vehicle", ("van", "opel"))


def test_an_empty_cell_is_named_by_row_and_column(table):
    table.loc[1, "Circ"] = np.nan
    with pytest.raises(kdbench.InvalidData, match=r"row 2, column 'Circ' is empty"):
        features_and_labels(table, "Class", "Vehicle")


def test_a_column_of_text_is_named(table):
    table["Circ"] = ["a", "b", "c"]
    with pytest.raises(kdbench.InvalidData, match="column 'Circ' is not of numbers"):
        features_and_labels(table, "Class", "Vehicle")
