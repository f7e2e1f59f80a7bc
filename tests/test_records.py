from __future__ import annotations

import json
import math
import subprocess
import sys

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kdbench.errors import RecordError
from kdbench.records import SCHEMA, Cost, Provenance, Record, Summary, Throughput, decode, encode, validate
from kdbench.schema import PATH, record_schema, record_schema_text
from kdbench.schema.__main__ import main as schema_command

hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

numbers = st.floats(allow_nan=False, allow_infinity=False)
metrics = st.dictionaries(st.text(max_size=8), st.none() | numbers, max_size=3)
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(max_size=8)
settings = st.dictionaries(st.text(max_size=8), plain | st.lists(plain, max_size=2), max_size=3)
records = st.builds(
    Record,
    schema=st.just(SCHEMA),
    run_id=st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}\Z"),
    params=settings,
    overrides=settings,
    recipe_settings=settings,
    recipe_overrides=settings,
    seed=st.integers(0, 2**31),
    metrics=metrics,
    val_metrics=metrics,
    teacher_metrics=metrics,
    throughput=st.builds(
        Throughput, train_samples_per_s=st.none() | numbers, inference_samples_per_s=st.just({"64": 2.5})
    ),
    cost=st.builds(Cost, parameters=st.none() | st.integers(0, 2**40), seconds=st.just({"train": 1.5})),
    provenance=st.builds(Provenance, libraries=st.just({"torch": "2.13"}), threads=st.integers(0, 64)),
    history=st.lists(metrics, max_size=3),
    confusion=st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2),
)


def a_record(**changes) -> Record:
    fields = {
        "run_id": "r1", "combo": "digits/big->small/kd", "dataset": "digits", "teacher": "big", "student": "small",
        "method": "kd", "recipe": "standard", "seed": 0, "status": "ok", "started": "2026-01-01T00:00:00.000+00:00",
        "finished": "2026-01-01T00:00:01.000+00:00",
    }  # fmt: skip
    return Record(**fields | changes)


def read(data: bytes, kind: type = Record) -> Record:
    return decode(data, kind, name="store/runs/r1/record.json", fix="delete it")


@given(records)
def test_an_encoded_record_is_read_back_as_it_was(record):
    assert read(encode(record)) == record


@given(records)
def test_every_encoded_record_is_valid_against_the_committed_schema(record):
    jsonschema.validate(json.loads(encode(record)), json.loads(PATH.read_text(encoding="utf-8")))


@given(records)
def test_a_summary_has_what_the_record_has_but_for_its_long_parts(record):
    summary = read(encode(record), Summary)
    assert msgspec.structs.asdict(summary) == {
        name: value for name, value in msgspec.structs.asdict(record).items() if name not in {"history", "confusion"}
    }


@given(records, st.data())
def test_a_record_cut_short_is_refused_by_its_name(record, data):
    whole = encode(record)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(RecordError) as caught:
        read(whole[:cut])
    assert caught.value.what == "store/runs/r1/record.json is damaged"
    assert caught.value.fix == "delete it"


def test_the_committed_schema_is_the_one_of_the_code():
    assert PATH.read_text(encoding="utf-8") == record_schema_text()


def test_the_schema_itself_is_valid():
    jsonschema.Draft202012Validator.check_schema(record_schema())


def test_the_schema_command_tells_whether_the_file_is_up_to_date(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kdbench.schema.__main__.PATH", tmp_path / "record.schema.json")
    assert schema_command(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert schema_command([]) == 0
    assert schema_command(["--check"]) == 0
    assert schema_command(["--what"]) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_a_finite_number_is_stored_as_null(value):
    record = read(encode(a_record(metrics={"accuracy": value}, history=[{"loss": value}])))
    assert record.metrics == {"accuracy": None}
    assert record.history == [{"loss": None}]


def test_numpy_values_are_stored_as_plain_ones():
    record = a_record(
        metrics={"accuracy": np.float64(0.5)}, confusion=np.eye(2, dtype=int), params={"steps": np.int64(3)}
    )
    assert validate(record) == a_record(metrics={"accuracy": 0.5}, confusion=[[1, 0], [0, 1]], params={"steps": 3})
    assert read(encode(record)) == validate(record)


def test_an_error_message_that_is_not_unicode_is_stored_legibly():
    assert read(encode(a_record(status="failed", error="no file 'caf\udce9'"))).error == r"no file 'caf\udce9'"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"seed": "three"}, "$.seed"),
        ({"status": "fine"}, "$.status"),
        ({"metrics": {"accuracy": "high"}}, "$.metrics"),
        ({"run_id": "../elsewhere"}, "$.run_id"),
        ({"cost": {"parameters": 1.5}}, "$.cost.parameters"),
    ],
)
def test_a_wrong_field_is_named(changes, place):
    fields = msgspec.to_builtins(a_record()) | changes
    for refused in (lambda: validate(fields), lambda: read(msgspec.json.encode(fields))):
        with pytest.raises(RecordError) as caught:
            refused()
        assert place in caught.value.why


def test_a_missing_field_is_named():
    fields = msgspec.to_builtins(a_record())
    del fields["method"]
    with pytest.raises(RecordError, match="method"):
        validate(fields)


def test_a_field_that_a_later_version_added_is_left_out():
    assert validate(msgspec.to_builtins(a_record()) | {"colour": "blue"}) == a_record()


@pytest.mark.parametrize("changes", [{}, {"metrics": [1]}], ids=["readable", "of another shape"])
def test_a_record_of_a_newer_schema_says_so_and_asks_for_an_upgrade(changes):
    fields = msgspec.to_builtins(a_record()) | {"schema": SCHEMA + 1} | changes
    for refused in (lambda: validate(fields), lambda: read(msgspec.json.encode(fields))):
        with pytest.raises(RecordError, match=f"newer kdbench.*schema {SCHEMA + 1}") as caught:
            refused()
        assert caught.value.fix == "upgrade: pip install --upgrade kdbench"


@pytest.mark.parametrize("value", [object(), {1, 2j}])
def test_a_value_that_json_cannot_hold_is_refused_with_the_run_named(value):
    with pytest.raises(RecordError, match="'r1' cannot be stored"):
        encode(a_record(params={"thing": value}))


def test_what_could_not_be_read_back_is_refused_before_it_is_written():
    with pytest.raises(RecordError, match=r"cannot be stored"):
        encode(a_record(status="fine"))


def test_reading_records_and_stores_imports_neither_torch_nor_pandas():
    code = "import kdbench, kdbench.store, kdbench.frame, sys; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
