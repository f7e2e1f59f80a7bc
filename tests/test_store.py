from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

import kdbench
from kdbench.errors import NewerRecord, RecordError, StoreError
from kdbench.records import Cost, Provenance, Record, Throughput, encode
from kdbench.store import MARKER, Store

spawned = multiprocessing.get_context("spawn")


def a_record(run_id: str = "r1", **changes) -> Record:
    fields = {
        "run_id": run_id, "combo": "digits/big->small/kd", "dataset": "digits", "teacher": "big", "student": "small",
        "method": "kd", "recipe": "standard", "seed": 0, "status": "ok", "metrics": {"accuracy": 0.5},
        "started": "2026-01-01T00:00:00.000+00:00", "finished": "2026-01-01T00:00:01.000+00:00",
    }  # fmt: skip
    return Record(**fields | changes)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "results")


def python(code: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """Run a program that has `store`, opened on the directory of the first argument, and `a_record`."""
    start = (
        "import os, signal, sys; from pathlib import Path; from kdbench.store import Store\n"
        "from test_store import a_record; store = Store.open(Path(sys.argv[1]))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, env=environment, check=False, **options,
    )  # fmt: skip


def leftovers(store: Store) -> list[str]:
    return sorted(os.listdir(store.directory / "tmp"))


def test_a_run_is_read_back_as_it_was_written(store):
    record = a_record(history=[{"epoch": 0.0, "ce": 1.5}], confusion=[[1, 2], [3, 4]], params={"temperature": 4.0})
    predictions = {"probabilities": np.random.default_rng(0).random((5, 3), dtype="float32"), "labels": np.arange(5)}
    assert store.write(record, predictions)
    again = Store.open(store.directory, create=False)
    assert again.read("r1") == record
    assert "r1" in again
    found = again.predictions("r1")
    assert list(found) == ["probabilities", "labels"]
    assert all(np.array_equal(found[name], predictions[name]) for name in found)
    assert found["probabilities"].dtype == np.float32


def test_a_run_without_predictions_has_none(store):
    store.write(a_record())
    assert store.predictions("r1") == {}


def test_a_run_that_is_not_there_is_named(store):
    assert "r1" not in store
    for ask in (store.read, store.predictions):
        with pytest.raises(StoreError, match="run r1 is not in"):
            ask("r1")


def test_records_come_ordered_by_run_id_or_as_asked(store):
    for run_id in ("b", "a", "c"):
        store.write(a_record(run_id))
    assert [r.run_id for r in store.records()] == ["a", "b", "c"]
    assert [r.run_id for r in store.summaries(["c", "absent", "a", "c"])] == ["c", "a"]


def test_statuses_are_of_every_run_or_of_those_asked_for(store):
    store.write(a_record("a"))
    store.write(a_record("b", status="failed", error="no"))
    assert store.statuses() == {"a": "ok", "b": "failed"}
    assert store.statuses(["b", "c"]) == {"b": "failed"}


def test_a_finished_run_is_kept_unless_replacement_is_asked_for(store):
    assert store.write(a_record(seed=1))
    assert not store.write(a_record(seed=2))
    assert store.read("r1").seed == 1
    assert store.write(a_record(seed=3), replace=True)
    assert store.read("r1").seed == 3
    assert leftovers(store) == []


def test_a_replaced_run_keeps_nothing_of_the_old_one(store):
    store.write(a_record(), {"labels": np.arange(3)})
    store.write(a_record(), replace=True)
    assert store.predictions("r1") == {}


def test_a_damaged_record_is_replaced_without_being_asked(store):
    store.write(a_record())
    (store.directory / "runs/r1/record.json").write_bytes(b"{")
    assert "r1" not in store
    assert store.write(a_record(seed=7))
    assert store.read("r1").seed == 7


def test_a_run_finished_since_a_moment_is_told_from_an_older_one(store):
    store.write(a_record(finished="2026-01-01T12:00:00.000+00:00"))
    assert store.finished_since("r1", "2026-01-01T11:59:59.000+00:00") is not None
    assert store.finished_since("r1", "2026-01-01T12:00:01.000+00:00") is None
    assert store.finished_since("r2", "2026-01-01T00:00:00.000+00:00") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (encode(a_record())[:-40], "truncated"),
        (b"", "truncated"),
        (b"\xff\xfe\x00", "JSON"),
        (encode(a_record()).replace(b'"seed":0', b'"seed":"x"'), r"\$.seed"),
        (encode(a_record()).replace(b'"schema":1', b'"schema":99'), "newer kdbench"),
        (encode(a_record("other")), "record of run other"),
    ],
    ids=["cut", "empty", "not JSON", "wrong type", "newer", "of another run"],
)
def test_a_record_that_cannot_be_read_names_its_file_and_the_way_out(store, content, why):
    store.write(a_record())
    store.write(a_record("whole"))
    path = store.directory / "runs/r1/record.json"
    path.write_bytes(content)
    for ask in (lambda: store.read("r1"), store.records, store.summaries):
        with pytest.raises(RecordError, match=why) as caught:
            ask()
        assert str(path) in str(caught.value)
        assert caught.value.fix
    problems: list[RecordError] = []
    assert [r.run_id for r in store.summaries(problems=problems)] == ["whole"]
    assert len(problems) == 1
    assert store.statuses(problems=[]) == {"whole": "ok"}


def test_a_newer_record_is_there_and_cannot_be_read(store):
    store.write(a_record("r1"))
    path = store.directory / "runs/r1/record.json"
    path.write_bytes(b'{"schema":99,"run_id":"r1"}')
    assert "r1" in store
    with pytest.raises(NewerRecord, match="written by a newer kdbench"):
        store.read("r1")
    assert store.write(a_record("r1")) is False
    assert path.read_bytes() == b'{"schema":99,"run_id":"r1"}'


def test_a_run_whose_copying_was_interrupted_is_told_from_one_that_is_not_there(store):
    (store.directory / "runs/r1").mkdir()
    with pytest.raises(RecordError, match=r"run r1 is damaged\n.*has no record.json"):
        store.read("r1")


def test_damaged_predictions_are_refused_whatever_the_damage(store):
    store.write(a_record(), {"labels": np.arange(300), "probabilities": np.linspace(0, 1, 300)})
    path = store.directory / "runs/r1/predictions.npz"
    whole = path.read_bytes()
    chance = np.random.default_rng(0)
    refused = []
    for _ in range(300):
        damaged = bytearray(whole)
        for place in chance.integers(0, len(whole), size=4):
            damaged[place] = chance.integers(256)
        path.write_bytes(damaged[: chance.integers(len(whole) // 2, len(whole) + 1)])
        with suppress(RecordError):  # a date within the file may be damaged and harm nothing
            store.predictions("r1")
            continue
        refused.append(damaged)
    assert len(refused) > 250


def test_predictions_that_would_execute_code_are_neither_written_nor_read(store):
    with pytest.raises(StoreError, match="'labels' cannot be stored"):
        store.write(a_record(), {"labels": np.array([{"a": 1}])})
    assert store.statuses() == {}
    store.write(a_record())
    np.savez(store.directory / "runs/r1/predictions.npz", labels=np.array([{"a": 1}]))
    with pytest.raises(RecordError, match="damaged"):
        store.predictions("r1")


def test_the_same_predictions_are_the_same_bytes(store):
    for run_id in ("a", "b"):
        store.write(a_record(run_id), {"labels": np.arange(3)})
    first, second = (store.directory / "runs" / run_id / "predictions.npz" for run_id in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.npy", "a b"])
def test_an_array_with_an_unfit_name_is_refused(store, name):
    with pytest.raises(StoreError, match="cannot name an array"):
        store.write(a_record(), {name: np.arange(2)})


@pytest.mark.parametrize("run_id", ["", "..", ".hidden", "a/b", "../r1"])
def test_a_run_id_never_leads_out_of_the_store(store, run_id):
    for ask in (
        store.read,
        store.predictions,
        lambda r: store.write(a_record(r)),
        lambda r: store.claim(r).__enter__(),
    ):
        with pytest.raises(StoreError):
            ask(run_id)
    assert run_id not in store


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing_behind(store, monkeypatch, call):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StoreError, match="cannot write run r1") as caught:
            store.write(a_record(), {"labels": np.arange(3)})
    assert "No space left" in caught.value.why
    assert "free some space" in caught.value.fix
    assert store.statuses() == {}
    assert os.listdir(store.directory / "runs") == leftovers(store) == []
    assert store.write(a_record())


def test_a_file_that_the_system_refuses_to_grow_leaves_nothing_visible(store):
    done = python(
        """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            store.write(a_record(error="x" * 5000))
        except Exception as error:
            print(type(error).__name__, error.why)
        print(store.statuses(), os.listdir(store.directory / "tmp"))
        """,
        store.directory,
    )
    assert done.stdout.splitlines() == ["StoreError File too large", "{} []"], done.stderr


def test_a_replacement_that_fails_leaves_the_old_run(store, monkeypatch):
    store.write(a_record(seed=1))
    rename, calls = os.rename, []

    def fails_the_third_time(source, target):
        calls.append(source)
        if len(calls) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", fails_the_third_time)
        with pytest.raises(StoreError):
            store.write(a_record(seed=2), replace=True)
    assert store.read("r1").seed == 1
    assert leftovers(store) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_directory_that_cannot_be_made_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="as a results directory") as caught:
        Store.open(tmp_path / place)
    assert "--out" in caught.value.fix


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_to_write_is_refused_but_can_be_read(store):
    store.write(a_record())
    for each in (store.directory / "tmp", store.directory / "runs", store.directory):
        each.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            Store.open(store.directory)
        assert Store.open(store.directory, create=False).statuses() == {"r1": "ok"}
    finally:
        for each in (store.directory, store.directory / "runs", store.directory / "tmp"):
            each.chmod(0o755)


def test_a_read_only_file_system_is_refused_for_writing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(StoreError, match="Read-only file system"):
        Store.open(tmp_path / "results")


@pytest.mark.parametrize("content", [None, "file", "directory"])
def test_what_is_not_a_store_is_not_opened_for_reading(tmp_path, content):
    place = tmp_path / "results"
    if content == "file":
        place.write_text("")
    if content == "directory":
        place.mkdir()
    with pytest.raises(StoreError, match="is not a kdbench results directory"):
        Store.open(place, create=False)
    assert not (place / MARKER).exists()


@pytest.mark.parametrize(("content", "why"), [(b'{"kdbench_store":99}', "newer kdbench"), (b"{", "damaged")])
def test_a_store_of_another_layout_is_refused(store, content, why):
    (store.directory / MARKER).write_bytes(content)
    for create in (True, False):
        with pytest.raises(StoreError, match=why):
            Store.open(store.directory, create=create)


def _write_and_tell(directory, start, results, seed):
    store = Store.open(directory)
    start.wait()
    results.put((seed, [store.write(a_record(f"r{n}", seed=seed), {"labels": np.full(9, seed)}) for n in range(20)]))


def test_of_processes_that_write_the_same_run_exactly_one_wins(tmp_path):
    start, results = spawned.Barrier(3), spawned.Queue()
    writers = [spawned.Process(target=_write_and_tell, args=(tmp_path, start, results, seed)) for seed in range(3)]
    for writer in writers:
        writer.start()
    won = dict(results.get(timeout=120) for _ in writers)
    for writer in writers:
        writer.join()
    store = Store.open(tmp_path)
    for number in range(20):
        winners = [seed for seed in won if won[seed][number]]
        record = store.read(f"r{number}")
        assert winners == [record.seed]
        assert set(store.predictions(f"r{number}")["labels"]) == {record.seed}
    assert leftovers(store) == []


def _replace_often(directory, start, seed):
    store = Store.open(directory)
    start.wait()
    for _ in range(30):
        assert store.write(a_record(seed=seed), {"labels": np.full(9, seed)}, replace=True)


def test_processes_that_replace_the_same_run_never_mix_or_lose_it(tmp_path):
    start = spawned.Barrier(2)
    writers = [spawned.Process(target=_replace_often, args=(tmp_path, start, seed)) for seed in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Store.open(tmp_path)
    assert set(store.predictions("r1")["labels"]) == {store.read("r1").seed}
    assert leftovers(store) == []


def test_a_claim_is_exclusive_until_its_block_ends(store):
    with store.claim("r1") as first, store.claim("r1") as second, store.claim("r2") as other:
        assert (first, second, other) == (True, False, True)
    with store.claim("r1") as again:
        assert again


def test_a_claim_ends_with_a_block_that_raises(store):
    with pytest.raises(RuntimeError), store.claim("r1"):
        raise RuntimeError
    with store.claim("r1") as again:
        assert again


def test_a_claim_of_another_process_ends_when_it_is_killed(store):
    code = (
        "import sys, time; from pathlib import Path; from kdbench.store import Store\n"
        "with Store.open(Path(sys.argv[1])).claim('r1') as mine:\n    print(mine, flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(store.directory)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert other.stdout.readline() == "True\n"
        with store.claim("r1") as mine:
            assert not mine
    finally:
        other.kill()
        other.communicate()
    with store.claim("r1") as mine:
        assert mine


def test_a_file_system_without_locks_is_one_clear_error(store, monkeypatch):
    def no_locks(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    with pytest.raises(StoreError, match="cannot claim run r1"), store.claim("r1"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="processes of other times are not told apart there")
@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_what_a_dead_process_was_writing_is_not_visible_and_is_cleaned_up(store, moment):
    done = python(f"os.{moment} = lambda *_: os._exit(9); store.write(a_record())", store.directory)
    assert done.returncode == 9, done.stderr
    assert len(leftovers(store)) == 1
    again = Store.open(store.directory)
    assert again.statuses() == {}
    assert leftovers(again) == []


@pytest.mark.skipif(sys.platform == "win32", reason="processes of other times are not told apart there")
def test_a_run_whose_replacement_was_killed_midway_is_put_back(store):
    store.write(a_record(seed=1))
    done = python(
        """
        rename, calls = os.rename, []
        def dies_the_third_time(source, target):
            calls.append(source)
            if len(calls) == 3:
                os._exit(9)
            rename(source, target)
        os.rename = dies_the_third_time
        store.write(a_record(seed=2), replace=True)
        """,
        store.directory,
    )
    assert done.returncode == 9, done.stderr
    again = Store.open(store.directory, create=False)
    assert again.read("r1").seed == 1
    assert leftovers(again) == []


def test_what_a_living_process_is_writing_is_left_alone(store):
    mine = store.directory / "tmp" / Path(store._temporary("r1")).name
    mine.mkdir()
    Store.open(store.directory)
    assert leftovers(store) == [mine.name]


def test_what_another_machine_left_is_kept_for_a_day(store):
    theirs = store.directory / "tmp" / f"r1.0badcafe.{os.getpid()}.12345678.new"
    theirs.mkdir()
    Store.open(store.directory)
    assert leftovers(store) == [theirs.name]
    os.utime(theirs, (0, 0))
    Store.open(store.directory)
    assert leftovers(store) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_process_killed_at_any_instant_loses_no_run_that_it_reported(store):
    code = (
        "import sys; from pathlib import Path; from test_store import a_record, Store; import numpy as np\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "for n in range(100000):\n"
        "    store.write(a_record(f'{sys.argv[2]}-{n}'), {'labels': np.arange(9)}); print(n, flush=True)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for attempt, runs in enumerate((1, 4, 9)):
        arguments = [sys.executable, "-c", code, str(store.directory), str(attempt)]
        writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(runs):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        told = runs + len(writer.communicate()[0].split())
        again = Store.open(store.directory)
        found = [record for record in again.records() if record.run_id.startswith(f"{attempt}-")]
        assert len(found) in {told, told + 1}
        assert all(len(again.predictions(record.run_id)["labels"]) == 9 for record in found)
        assert leftovers(again) == []


def test_stores_are_merged_by_copying_their_runs(tmp_path):
    first, second = Store.open(tmp_path / "a"), Store.open(tmp_path / "b")
    first.write(a_record("r1"), {"labels": np.arange(3)})
    second.write(a_record("r2"))
    shutil.copytree(first.directory / "runs", second.directory / "runs", dirs_exist_ok=True)
    merged = Store.open(tmp_path / "b", create=False)
    assert merged.statuses() == {"r1": "ok", "r2": "ok"}
    assert len(merged.predictions("r1")["labels"]) == 3


def test_files_that_are_not_runs_are_passed_over(store):
    store.write(a_record())
    (store.directory / "runs/.DS_Store").write_text("")
    (store.directory / "runs/notes.txt").write_text("")
    assert list(store.statuses()) == ["r1"]


def test_a_store_loads_as_a_table_with_one_row_per_run(store):
    store.write(
        a_record(
            "a",
            metrics={"accuracy": 0.75, "ece": None}, val_metrics={"accuracy": 0.8}, teacher_metrics={"accuracy": 0.9},
            params={"temperature": 4.0, "layers": ["a", "b"]}, overrides={"temperature": 4.0},
            throughput=Throughput(train_samples_per_s=10.0, inference_samples_per_s={"64": 20.0}),
            cost=Cost(parameters=5, seconds={"train": 1.5}),
            provenance=Provenance(device="cpu", libraries={"torch": "2"}),
        )
    )  # fmt: skip
    store.write(a_record("b", seed=1, status="failed", error="no", metrics={}))
    frame = kdbench.load(store.directory)
    assert list(frame["run_id"]) == ["a", "b"]
    row = frame.set_index("run_id").loc["a"]
    assert (row["metric_accuracy"], row["val_metric_accuracy"], row["teacher_metric_accuracy"]) == (0.75, 0.8, 0.9)
    assert (row["train_samples_per_s"], row["inference_samples_per_s_64"], row["seconds_train"]) == (10.0, 20.0, 1.5)
    assert (row["parameters"], row["device"], row["library_torch"]) == (5, "cpu", "2")
    assert msgspec.json.decode(row["params"]) == {"temperature": 4.0, "layers": ["a", "b"]}
    assert row["param_temperature"] == 4.0
    assert "param_layers" not in frame
    assert frame["metric_accuracy"].isna().tolist() == [False, True]


def test_an_empty_store_loads_as_a_table_with_the_fixed_columns(store):
    frame = kdbench.load(store.directory)
    assert len(frame) == 0
    assert {"run_id", "status", "parameters", "device"} <= set(frame.columns)


def test_a_damaged_record_is_warned_about_and_the_rest_is_loaded(store):
    store.write(a_record("a"))
    store.write(a_record("b"))
    (store.directory / "runs/b/record.json").write_bytes(b"{")
    with pytest.warns(UserWarning, match=r"b/record\.json is damaged"):
        assert list(kdbench.load(store.directory)["run_id"]) == ["a"]
