"""Pictures that do not fit into memory: decoded once into a file, the same as in memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.errors import FetchError
from kdbench_data import folders, hub, memory, tables
from kdbench_images import imagenets

SIDE = 24
CLASSES = ("cat", "dog")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def room(monkeypatch) -> Callable[[int], None]:
    """Sets how many bytes of memory are free."""
    return lambda size: monkeypatch.setattr(memory, "available_bytes", lambda: size)


def save(path: Path, seed: int, *, grey: bool = False, side: int = SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side + 2) if grey else (side, side + 2, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


def folder(root: Path, *, items: int = 30, grey: Callable[[int], bool] = lambda number: False) -> Path:
    """JPEGs of two classes in an official split, as ImageNet's archive unpacks."""
    for number in range(items):
        part = "val" if number % 5 == 0 else "train"
        save(root / part / CLASSES[number % 2] / f"{number:04d}.JPEG", number, grey=grey(number))
    return root


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def both(read: Callable[[], kdbench.Data], room: Callable[[int], None]) -> tuple[kdbench.Data, kdbench.Data]:
    """The data in memory and on disk."""
    room(10**12)
    whole = read()
    room(100)
    on_disk = read()
    assert not isinstance(whole.views()["input"], np.memmap)
    assert isinstance(on_disk.views()["input"], np.memmap)
    return whole, on_disk


@pytest.mark.parametrize(
    ("grey", "channels"),
    [
        (lambda number: False, 3),
        (lambda number: True, 1),
        (lambda number: number % 3 == 0, 3),
        (lambda number: number < 29, 3),
        (lambda number: number == 29, 3),
    ],
)
@pytest.mark.parametrize("size", ["", "?size=9"])
def test_a_folder_is_the_same_in_memory_and_on_disk(tmp_path, room, monkeypatch, grey, channels, size):
    monkeypatch.setattr("kdbench_data.decoding._COPIED", 3 * SIDE * SIDE)
    argument = f"{folder(tmp_path / 'all', grey=grey)}{size}"
    whole, on_disk = both(lambda: folders.image_folder(argument), room)
    array = on_disk.views()["input"]
    assert array.shape[1] == channels
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, whole.views()["input"])
    assert on_disk.labels.tolist() == whole.labels.tolist()
    fingerprints = {prepare("all", data, fold=None, folds=None).fingerprint for data in (whole, on_disk)}
    assert len(fingerprints) == 1


def test_imagenets_own_directory(tmp_path, room, monkeypatch):
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    folder(tmp_path / "imagenet-1k")
    whole, on_disk = both(imagenets.imagenet_64, room)
    np.testing.assert_array_equal(on_disk.views()["input"], whole.views()["input"])
    assert on_disk.views()["input"].shape == (30, 3, 64, 64)
    assert on_disk.split.tolist() == whole.split.tolist()


def test_pictures_of_a_table(tmp_path, room):
    rows = []
    for number in range(12):
        save(tmp_path / f"{number}.png", number)
        content = (tmp_path / f"{number}.png").read_bytes()
        rows.append({"bytes": content, "path": None} if number % 2 else {"bytes": None, "path": f"{number}.png"})
    pd.DataFrame({"image": rows, "label": np.arange(12) % 2}).to_parquet(tmp_path / "all.parquet")
    argument = str(tmp_path / "all.parquet")
    whole = tables.parquet(argument).views()["input"]
    room(4 * whole.nbytes)  # the table's own bytes have to fit
    on_disk = tables.parquet(argument).views()["input"]
    assert isinstance(on_disk, np.memmap)
    np.testing.assert_array_equal(on_disk, whole)
    save(tmp_path / "2.png", 99)
    changed = tables.parquet(argument).views()["input"]
    assert not np.array_equal(changed[2], whole[2])
    np.testing.assert_array_equal(changed[3:], whole[3:])


def test_pictures_of_the_hub(tmp_path, room, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})

    def publish(seed: int) -> None:
        stream = np.random.default_rng(seed)
        images = [Image.fromarray(stream.integers(0, 256, (8, 9, 3), dtype=np.uint8)) for _ in range(20)]
        rows = {"img": images, "label": [number % 2 for number in range(20)]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / f"saved-{seed}")

    for seed in (0, 1):
        publish(seed)

    def read() -> kdbench.Data:
        return hub.hub_dataset(f"{tmp_path / 'saved-0'}")

    whole, on_disk = both(read, room)
    np.testing.assert_array_equal(on_disk.views()["input"], whole.views()["input"])
    (tmp_path / "saved-0").rename(tmp_path / "before")
    (tmp_path / "saved-1").rename(tmp_path / "saved-0")
    assert not np.array_equal(read().views()["input"], whole.views()["input"])


class TestOnce:
    """Decoded once for the same files, told by a file that changes unseen."""

    @pytest.fixture
    def changed(self, tmp_path, room) -> Callable[[int], bool]:
        """Whether the pictures are others once one file has changed, its time by so much."""
        root = folder(tmp_path / "all")
        file, size = root / "train/cat/0004.JPEG", 10_000
        os.truncate(file, size)  # what follows a picture's end is passed over
        room(100)

        def change(nanoseconds: int) -> bool:
            before = np.array(folders.image_folder(str(root)).views()["input"])
            status = file.stat()
            save(file, 77)
            os.truncate(file, size)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + nanoseconds))
            return not np.array_equal(before, folders.image_folder(str(root)).views()["input"])

        return change

    def test_nothing_is_decoded_again(self, changed, cache):
        assert not changed(0)
        assert len(left(cache)) == 1

    def test_but_what_changed_is(self, changed, cache):
        assert changed(1000)
        assert len(left(cache)) == 2


def test_a_damaged_picture_in_the_middle_is_named_and_nothing_stays(tmp_path, room, cache):
    root = folder(tmp_path / "all")
    damaged = root / "train/dog/0013.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:200])
    room(100)
    with pytest.raises(kdbench.InvalidData, match=r"(?s)imagefolder:.*0013\.JPEG is not a picture that can be read"):
        folders.image_folder(str(root))
    assert left(cache) == []
    damaged.unlink()
    assert len(folders.image_folder(str(root)).labels) == 29


def test_a_picture_of_another_size_is_named_and_nothing_stays(tmp_path, room, cache):
    root = folder(tmp_path / "all")
    save(root / "train/dog/0099.JPEG", 1, side=30)
    room(100)
    with pytest.raises(
        kdbench.InvalidData, match=r"(?s)differ in size.*0099\.JPEG has 32x30 pixels, the first 26x24.*size=32"
    ):
        folders.image_folder(str(root))
    assert left(cache) == []


def test_a_disk_that_fills_up_while_decoding_is_told_and_nothing_stays(tmp_path, room, cache):
    """A limit on the size of files stands for the disk: the system refuses to write in the middle of the pictures."""
    root = folder(tmp_path / "all", items=200)
    room(100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(
            FetchError, match=r"(?s)'imagefolder:.*all' cannot be prepared on disk.*File too large.*KDBENCH_CACHE"
        ):
            folders.image_folder(str(root))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert left(cache) == []
    assert len(folders.image_folder(str(root)).labels) == 200


READ = (
    "import sys\n"
    "from kdbench_data import folders, memory\n"
    "memory.available_bytes = lambda: 100\n"
    "print(folders.image_folder(sys.argv[1]).views()['input'].sum())\n"
)


def test_a_process_killed_while_decoding_does_not_stop_the_next_one(tmp_path, room, cache):
    root = folder(tmp_path / "all")
    slow = (
        "import time\nfrom PIL import Image\nread = Image.open\n"
        "Image.open = lambda file: time.sleep(600) if '0028' in str(file) else read(file)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow + READ, str(root)])
    try:
        while not list((cache / "tmp").rglob("*.npy")):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    room(100)
    assert len(left(cache)) == 1
    array = folders.image_folder(str(root)).views()["input"]
    room(10**12)
    np.testing.assert_array_equal(array, folders.image_folder(str(root)).views()["input"])


def test_two_processes_at_once_decode_once_and_read_the_same(tmp_path, cache, room):
    root = folder(tmp_path / "all")
    both = [
        subprocess.Popen([sys.executable, "-c", READ, str(root)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    room(10**12)
    assert said == {f"{folders.image_folder(str(root)).views()['input'].sum()}\n"}
    assert len(left(cache)) == 1
