"""The results directory: one run per sub-directory, each visible whole or not at all.

    DIR/kdbench-store.json            marks the directory and holds the schema of this layout
    DIR/runs/RUN_ID/record.json       one run (kdbench.records)
    DIR/runs/RUN_ID/predictions.npz   its answers on the test split, where it has them
    DIR/tmp/                          runs being written, and runs being replaced
    DIR/locks/RUN_ID.lock             held while a process executes the run

A run is written under tmp/, flushed to the disk and renamed to its place. Two stores are merged by copying the
directories under runs/.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kdbench import summary_cache
from kdbench.collector import without_collector
from kdbench.durable import is_alive, reason, remove, replace_file, sync_directory, this_host, write_file
from kdbench.errors import NewerRecord, RecordError, StoreError
from kdbench.predictions import UNREADABLE, pack_arrays, read_arrays
from kdbench.records import Record, Status, Summary, decode, encode
from kdbench.summary_cache import Stamped
from kdbench.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MARKER = "kdbench-store.json"
STORE_SCHEMA = 1
_RECORD, _PREDICTIONS = "record.json", "predictions.npz"
_STALE_SECONDS = 24 * 3600
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

R = TypeVar("R", bound=Summary)


class _Marker(msgspec.Struct):
    kdbench_store: int
    created_by: str = ""


def load(directory: Path | str) -> pd.DataFrame:
    """Every run of a results directory as a pandas table: `Store.open(directory, create=False).frame()`."""
    return Store.open(Path(directory), create=False).frame()


class Store:
    """Records and predictions of runs, kept in a directory that several processes may share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runs, self._tmp, self._locks = directory / "runs", directory / "tmp", directory / "locks"

    @classmethod
    def open(cls, directory: Path, *, create: bool = True) -> Store:
        """The store in `directory`, made where there is none.

        Args:
            directory: where the store is, or will be.
            create: False opens an existing store, for reading: nothing is created, and it may be read-only.

        Raises: StoreError where the directory cannot be used, or holds a store of a newer kdbench.
        """
        store = cls(Path(directory))
        marker = store.directory / MARKER
        try:
            if not create and not marker.is_file():
                raise _not_a_store(store.directory)
            if create:
                for each in (store.directory, store._runs, store._tmp, store._locks):
                    each.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=store._tmp):
                    pass
                if not marker.exists():
                    replace_file(marker, msgspec.json.encode(_Marker(STORE_SCHEMA, __version__)), store._tmp)
            _check_marker(marker)
        except OSError as error:
            fix = "choose a directory that you can write to, with --out DIR" if create else "choose another directory"
            raise StoreError(f"cannot use {store.directory} as a results directory", reason(error), fix) from error
        with suppress(OSError):
            store._clean()
        return store

    @staticmethod
    def awaited(directory: Path) -> bool:
        """Whether the directory is no store yet and nothing else: it is not there, empty, or being made this moment."""
        try:
            return {entry.name for entry in os.scandir(directory)} <= {"runs", "tmp", "locks"}
        except FileNotFoundError:
            return True
        except OSError:  # a file, or not for us: opening it tells
            return False

    def __contains__(self, run_id: object) -> bool:
        """Whether the run is finished, with any status, and its record is sound: this kdbench's or a newer one's."""
        try:
            self._decode(str(run_id), Record)
        except NewerRecord:
            return True
        except (StoreError, OSError):
            return False
        return True

    def statuses(
        self, run_ids: Iterable[str] | None = None, *, problems: list[RecordError] | None = None
    ) -> dict[str, Status]:
        """The status of every run, or of those asked for, by run id; `problems` as for `records`."""
        return {summary.run_id: summary.status for summary in self.summaries(run_ids, problems=problems)}

    def read(self, run_id: str) -> Record:
        """The record of one run.

        Raises: StoreError where there is none; RecordError where it cannot be read.
        """
        return self._read(run_id, Record)

    def finished_since(self, run_id: str, moment: str) -> Record | None:
        """The run's record, where it can be read and was finished at `moment` or later (UTC, ISO 8601)."""
        try:
            record = self._decode(run_id, Record)
        except (StoreError, OSError):
            return None
        return record if record.finished >= moment else None

    def predictions(self, run_id: str) -> dict[str, NDArray[Any]]:
        """The arrays kept beside a record, by name; empty where the run kept none."""
        path = self._path(run_id) / _PREDICTIONS
        try:
            return read_arrays(path)
        except FileNotFoundError:
            if not self._path(run_id).is_dir():
                raise self._missing(run_id) from None
            return {}
        except (OSError, *UNREADABLE) as error:
            raise RecordError(f"{path} is damaged", reason(error), _delete(self._path(run_id))) from error

    def records(
        self, run_ids: Iterable[str] | None = None, *, problems: list[RecordError] | None = None
    ) -> list[Record]:
        """The records, ordered by run id, or in the order of `run_ids`, where those that are absent are left out.

        Args:
            run_ids: the runs to read; all of them where None.
            problems: collects the errors of records that cannot be read; without it the first one is raised.
        """
        return self._read_all(run_ids, problems, Record)

    def summaries(
        self, run_ids: Iterable[str] | None = None, *, problems: list[RecordError] | None = None
    ) -> list[Summary]:
        """As `records`, without each run's history and confusion matrix: several times faster to read.

        Of thousands of runs those whose records did not change since they were last read come from one file in the
        user's cache (kdbench.summary_cache).
        """
        if run_ids is not None:
            return self._read_all(run_ids, problems, Summary)
        return [summary for _, summary in self.refreshed(problems=problems).values()]

    def refreshed(
        self, kept: Mapping[str, Stamped] | None = None, *, problems: list[RecordError] | None = None
    ) -> dict[str, Stamped]:
        """The summaries of all runs by run id, each with the stamp of its record.

        Args:
            kept: what this gave before: a record whose file is as it was then is not read again.
            problems: as for `records`.
        """
        run_ids = self._run_ids()
        with without_collector():
            if kept is not None or len(run_ids) < summary_cache.LEAST:
                return self._reread(run_ids, kept or {}, problems)
            kept = summary_cache.load(self._runs)
            found = self._reread(run_ids, kept, problems)
            read = sum(kept.get(run_id) is not each for run_id, each in found.items())
            summary_cache.save(self._runs, found, read)
        return found

    def last_change(self) -> int | None:
        """When a run last came, went or was replaced, in nanoseconds by the file system's clock; None before any.

        It costs one look at the directory, and does not see a record that was changed in its place.
        """
        try:
            return os.stat(self._runs).st_mtime_ns
        except OSError:
            return None

    def frame(self) -> pd.DataFrame:
        """One row per run, with the columns that `kdbench.frame` describes; damaged records are warned about."""
        from kdbench.frame import to_frame

        problems: list[RecordError] = []
        summaries = self.summaries(problems=problems)
        for problem in problems:
            warnings.warn(str(problem), stacklevel=2)
        return to_frame(summaries)

    def write(
        self, record: Record, predictions: Mapping[str, NDArray[Any]] | None = None, *, replace: bool = False
    ) -> bool:
        """Keep a finished run; when this returns, it is on the disk.

        Args:
            record: what the run produced.
            predictions: arrays to keep beside it.
            replace: take the place of the record that is there. A damaged one is always replaced.

        Returns: False, and nothing is changed, where the run is in the store already: another process was first.
        Raises: StoreError where it cannot be written; RecordError where the record holds what cannot be stored.
        """
        files = {_RECORD: encode(record)}
        if predictions:
            files[_PREDICTIONS] = pack_arrays(predictions)
        target, written = self._path(record.run_id), self._temporary(record.run_id)
        try:
            written.mkdir(parents=True)
            for name, content in files.items():
                write_file(written / name, content)
            sync_directory(written)
            return self._place(written, target, replace=replace)
        except OSError as error:
            fix = "free some space, or choose another directory with --out DIR; then run again: finished runs are kept"
            path = error.filename2 or error.filename or target
            raise StoreError(f"cannot write run {record.run_id} to {path}", reason(error), fix) from error
        finally:
            shutil.rmtree(written, ignore_errors=True)

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """Hold a run while executing it: True where this process holds it now, False where another does.

        The claim ends with the block, or with the process. Ask for `run_id in store` once more inside it: the process
        that held it before may have finished the run.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self._locks / f"{self._path(run_id).name}.lock")
        try:
            self._locks.mkdir(exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            fix = "choose a directory that you can write to, with --out DIR"
            raise StoreError(f"cannot claim run {run_id} in {self.directory}", reason(error), fix) from error
        try:
            yield True
        finally:
            lock.release()

    def _path(self, run_id: str) -> Path:
        if not _NAME.fullmatch(run_id):
            raise StoreError(f"{run_id!r} is not a run id", "letters, digits, '_', '-' and '.' are allowed")
        return self._runs / run_id

    def _temporary(self, run_id: str, suffix: str = "new") -> Path:
        return self._tmp / f"{run_id}.{this_host()}.{os.getpid()}.{secrets.token_hex(4)}.{suffix}"

    def _place(self, written: Path, target: Path, *, replace: bool) -> bool:
        target.parent.mkdir(exist_ok=True)
        moved: list[Path] = []
        placed = False
        try:
            while True:
                try:
                    os.rename(written, target)
                except OSError as error:
                    if not _taken(error, target):
                        raise
                else:
                    placed = True
                    sync_directory(target.parent)
                    return True
                if not replace and target.name in self:
                    return False
                away = self._temporary(target.name, "old")
                with suppress(FileNotFoundError):  # another process moved it first
                    os.rename(target, away)
                    moved.append(away)
        finally:
            for away in reversed(moved):
                if placed or not _put_back(away, target):
                    remove(away)

    def _read(self, run_id: str, kind: type[R]) -> R:
        try:
            return self._decode(run_id, kind)
        except FileNotFoundError:
            path = self._path(run_id)
            if not path.is_dir():
                raise self._missing(run_id) from None
            why = f"{path} has no {_RECORD}: its copying was interrupted"
            raise RecordError(f"run {run_id} is damaged", why, _delete(self._path(run_id))) from None
        except OSError as error:
            path = self._path(run_id) / _RECORD
            raise RecordError(f"{path} cannot be read", reason(error), _delete(self._path(run_id))) from error

    def _decode(self, run_id: str, kind: type[R]) -> R:
        place = self._path(run_id)
        path, delete = f"{place}{os.sep}{_RECORD}", _delete(place)
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        record = decode(data, kind, name=path, fix=delete)
        if record.run_id != run_id:
            fix = f"rename its directory to {record.run_id}, or {delete}"
            raise RecordError(f"{path} is not of this run", f"it holds the record of run {record.run_id}", fix)
        return record

    def _read_all(self, run_ids: Iterable[str] | None, problems: list[RecordError] | None, kind: type[R]) -> list[R]:
        found = []
        for run_id in self._run_ids() if run_ids is None else dict.fromkeys(run_ids):
            try:
                found.append(self._read(run_id, kind))
            except RecordError as problem:
                if problems is None:
                    raise
                problems.append(problem)
            except StoreError:  # asked for and not there, or moved away while we read
                continue
        return found

    def _reread(
        self, run_ids: list[str], kept: Mapping[str, Stamped], problems: list[RecordError] | None
    ) -> dict[str, Stamped]:
        found: dict[str, Stamped] = {}
        for run_id in run_ids:
            stamp = summary_cache.NO_STAMP
            with suppress(OSError):  # what is wrong with the record is told by reading it
                stamp = summary_cache.stamp(f"{self._runs}{os.sep}{run_id}{os.sep}{_RECORD}")
            if (known := kept.get(run_id)) is not None and known[0] == stamp:
                found[run_id] = known
                continue
            for summary in self._read_all([run_id], problems, Summary):
                found[run_id] = stamp, summary
        return found

    def _run_ids(self) -> list[str]:
        try:
            with os.scandir(self._runs) as entries:
                return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"cannot list {self._runs}", reason(error), "check that you may read it") from error

    def _missing(self, run_id: str) -> StoreError:
        fix = f"kdbench report {self.directory} shows the runs there are"
        return StoreError(f"run {run_id} is not in {self.directory}", fix=fix)

    def _clean(self) -> None:
        """Remove what dead processes left under tmp/; a run that was moved away and not replaced is put back."""
        for entry in self._tmp.iterdir():
            name, host, pid, _, kind = ["", "", "", "", "", *entry.name.rsplit(".", 4)][-5:]
            mine = host == this_host() and pid.isdigit()
            old = time.time() - entry.stat().st_mtime > _STALE_SECONDS
            if is_alive(int(pid)) if mine else not old:
                continue
            if kind == "old" and _NAME.fullmatch(name) and not (self._runs / name).exists():
                os.rename(entry, self._runs / name)
            else:
                remove(entry)


def _put_back(away: Path, target: Path) -> bool:
    """Whether a directory that was moved away is in its place again; False where another has taken it."""
    try:
        os.rename(away, target)
    except OSError as error:
        if not _taken(error, target):
            raise
        return False
    return True


def _taken(error: OSError, target: Path) -> bool:
    """Whether a directory could not take its place for another that is there, or was a moment ago."""
    return error.errno in (errno.ENOTEMPTY, errno.EEXIST) or target.exists()


def _delete(place: Path) -> str:
    return f"delete it with: rm -r {shlex.quote(str(place))}, then run again"


def _not_a_store(directory: Path) -> StoreError:
    if not directory.exists():
        why = "there is no such directory"
    elif not directory.is_dir():
        why = "it is a file, not a directory"
    else:
        why = f"it has no {MARKER}"
    fix = "give the directory that 'kdbench run --out DIR' wrote to"
    return StoreError(f"{directory} is not a kdbench results directory", why, fix)


def _check_marker(marker: Path) -> None:
    try:
        found = msgspec.json.decode(marker.read_bytes(), type=_Marker)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        fix = f"delete it with: rm {shlex.quote(str(marker))}; the runs are kept"
        raise StoreError(f"{marker} is damaged", str(error), fix) from error
    if found.kdbench_store > STORE_SCHEMA:
        why = f"written by a newer kdbench (schema {found.kdbench_store}; this one reads up to {STORE_SCHEMA})"
        raise StoreError(f"{marker.parent} cannot be read", why, "upgrade: pip install --upgrade kdbench")
