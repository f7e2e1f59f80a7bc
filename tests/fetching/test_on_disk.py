"""Arrays kept on disk: whole or absent, made once, and read without holding them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import kdbench
from kdbench.errors import FetchError
from kdbench.fetching.prepared import prepared_path

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def save(path: Path) -> None:
    np.save(path, ARRAY)


def never(path: Path) -> None:
    raise AssertionError("it was made again")


def left(cache: Path) -> list[str]:
    """The files of the cache, but locks."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_it_is_mapped_read_only_and_made_once(cache):
    for write in (save, never):
        found = kdbench.remember_on_disk("pictures", [1], write, size=ARRAY.nbytes)
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, ARRAY)
        with pytest.raises(ValueError, match="read-only"):
            found[0, 0] = 1
    assert left(cache) == [prepared_path("pictures", [1]).with_suffix(".npy").name]


def test_other_parts_are_made_anew():
    kdbench.remember_on_disk("pictures", [1], save, size=0)
    with pytest.raises(AssertionError, match="made again"):
        kdbench.remember_on_disk("pictures", [2], never, size=0)


def test_a_file_that_was_cut_off_is_made_again_with_a_warning():
    kdbench.remember_on_disk("pictures", [1], save, size=0)
    path = prepared_path("pictures", [1]).with_suffix(".npy")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(UserWarning, match=r"pictures-.*\.npy is damaged .*it is made again"):
        np.testing.assert_array_equal(kdbench.remember_on_disk("pictures", [1], save, size=0), ARRAY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kdbench.remember_on_disk("pictures", [1], never, size=0)


def test_what_raises_leaves_nothing(cache):
    def fail(path):
        save(path)
        raise kdbench.InvalidData("a bad picture")

    with pytest.raises(kdbench.InvalidData, match="a bad picture"):
        kdbench.remember_on_disk("pictures", [1], fail, size=0)
    assert left(cache) == []


def test_a_disk_that_fills_up_is_told_and_leaves_nothing(cache):
    def fill(path):
        save(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FetchError, match=r"(?s)'pictures' cannot be prepared on disk.*No space left.*KDBENCH_CACHE"):
        kdbench.remember_on_disk("pictures", [1], fill, size=0)
    assert left(cache) == []


def test_a_disk_without_room_is_told_before_anything_is_written(cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 5 * 10**9))
    said = r"it takes 200\.0 GB.*has 5\.0 GB free.*KDBENCH_CACHE"
    with pytest.raises(FetchError, match=rf"(?s)'pictures' cannot be prepared on disk.*{said}"):
        kdbench.remember_on_disk("pictures", [1], never, size=200 * 10**9)
    with pytest.raises(kdbench.DataNotAvailable, match=rf"(?s)'pictures' is not on this machine.*{said}"):
        kdbench.check_disk_room("pictures", 200 * 10**9)


def test_what_is_prepared_needs_no_more_room(monkeypatch):
    kdbench.remember_on_disk("pictures?size=3", [1], save, size=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    kdbench.check_disk_room("pictures?size=3", 200)
    np.testing.assert_array_equal(kdbench.remember_on_disk("pictures?size=3", [1], never, size=200), ARRAY)
    with pytest.raises(kdbench.DataNotAvailable, match="it takes 200 bytes"):
        kdbench.check_disk_room("pictures", 200)


def test_a_process_that_is_killed_while_writing_leaves_what_the_next_one_removes(cache):
    code = (
        "import sys, time, kdbench\n"
        "def write(path):\n"
        "    with path.open('wb') as file:\n"
        "        file.write(b'half'); file.flush()\n"
        "        print('writing', flush=True)\n"
        "        time.sleep(600)\n"
        "kdbench.remember_on_disk('pictures', [1], write, size=0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert len(list((cache / "tmp").rglob("*.npy"))) == 1
    np.testing.assert_array_equal(kdbench.remember_on_disk("pictures", [1], save, size=0), ARRAY)
    assert left(cache) == [prepared_path("pictures", [1]).with_suffix(".npy").name]


def test_two_processes_make_it_once(made_by_two):
    code = (
        "import sys, time, numpy, kdbench\n"
        "def write(path):\n"
        "    open(sys.argv[1], 'a').write('made ')\n"
        "    time.sleep(0.5)\n"
        "    numpy.save(path, numpy.arange(3))\n"
        "print(kdbench.remember_on_disk('slow', 1, write, size=0).tolist())\n"
    )
    assert made_by_two(code) == (["[0, 1, 2]\n"] * 2, "made ")
