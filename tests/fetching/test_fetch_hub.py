"""Datasets of the hub, by its own client: held to the commit and the content that came first."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from archives import sha256

import kdbench
from kdbench.catalog import Catalog
from kdbench.commands.data import fetch_data_command, list_command, verify_command
from kdbench.errors import ClientMissing, DamagedArchive, FetchError, Offline, PluginError, VersionGone, WrongChecksum
from kdbench.fetching.cache import directory, is_here, manifest
from kdbench.fetching.fetch import damage, fetch

pytest.importorskip("huggingface_hub")
FILES = {
    "README.md": b"# Words\n",
    "data/train-00000-of-00001.parquet": b"a train split",
    "data/test-00000-of-00001.parquet": b"a test split",
}
SOURCE = kdbench.Source("datasets", "words/data", "main", files=("README.md", "*.parquet"), licence="CC0")
TRAIN = "train-00000-of-00001.parquet"


def test_files_come_whole_at_their_paths_and_the_commit_is_recorded(hub):
    commit = hub.publish("words/data", {**FILES, "words.py": b"exit()"})
    reported: list[int] = []
    assert fetch(SOURCE, reported.append) is True
    path = kdbench.source_path(SOURCE)
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert not (path / "words.py").exists()
    assert manifest(SOURCE).commit == commit
    assert {name: file.sha256 for name, file in manifest(SOURCE).files.items()} == {
        name: sha256(content) for name, content in FILES.items()
    }
    assert damage(SOURCE) == []
    assert fetch(SOURCE) is False


def test_what_was_fetched_is_held_to_its_commit(hub):
    first = hub.publish("words/data", FILES)
    fetch(SOURCE)
    hub.publish("words/data", {**FILES, f"data/{TRAIN}": b"another train split"})
    (kdbench.source_path(SOURCE) / "data" / TRAIN).write_bytes(b"A train split")
    (problem,) = damage(SOURCE)
    assert f"expected sha256 {sha256(b'a train split')}, found {sha256(b'A train split')}" in problem
    assert fetch(SOURCE, fresh=True) is True
    assert manifest(SOURCE).commit == first
    assert damage(SOURCE) == []


def test_a_revision_that_is_pinned_is_asked_for(hub):
    first = hub.publish("words/data", FILES)
    hub.publish("words/data", {**FILES, f"data/{TRAIN}": b"another train split"})
    pinned = kdbench.Source("datasets", "words/data", first, files=SOURCE.files)
    fetch(pinned)
    assert (kdbench.source_path(pinned) / "data" / TRAIN).read_bytes() == b"a train split"
    assert not is_here(SOURCE)


def test_a_commit_that_is_gone_says_how_to_take_the_one_that_is_there(hub):
    first = hub.publish("words/data", FILES)
    fetch(SOURCE)
    second = hub.publish("words/data", FILES)
    hub.remove("words/data", first)
    with pytest.raises(VersionGone, match=r"(?s)fetched before is gone.*what main is now: remove") as caught:
        fetch(SOURCE, fresh=True)
    assert str(directory(SOURCE)) in caught.value.fix
    assert damage(SOURCE) == []  # what was there stays
    shutil.rmtree(directory(SOURCE))
    fetch(SOURCE)
    assert manifest(SOURCE).commit == second


def test_other_content_than_the_hub_states_is_refused(hub, cache):
    hub.publish("words/data", FILES)
    hub.replaced[f"data/{TRAIN}"] = b"A train split"
    with pytest.raises(WrongChecksum, match=rf"(?s){TRAIN} is not what.*{sha256(b'a train split')}, found"):
        fetch(SOURCE)
    assert not is_here(SOURCE)
    assert not list(cache.rglob(TRAIN))
    hub.replaced.clear()
    hub.served.clear()
    assert fetch(SOURCE) is True
    assert hub.served == [TRAIN]


def test_small_files_are_held_to_what_came_first(hub):
    hub.publish("words/data", FILES)
    fetch(SOURCE)
    hub.replaced["README.md"] = b"# WORDS\n"
    with pytest.raises(WrongChecksum, match=rf"README\.md is not what[^,]*{sha256(FILES['README.md'])} came before"):
        fetch(SOURCE, fresh=True)
    assert damage(SOURCE) == []


def test_an_interrupted_fetch_goes_on_where_it_was(hub):
    hub.publish("words/data", FILES)
    hub.broken.add("data/test-00000-of-00001.parquet")
    with pytest.raises(FetchError, match=r"(?s)words/data@main cannot be fetched.*hf download words/data.*403"):
        fetch(SOURCE)
    assert TRAIN in hub.served
    assert not is_here(SOURCE)
    hub.broken.clear()
    hub.served.clear()
    assert fetch(SOURCE) is True
    assert TRAIN not in hub.served
    assert damage(SOURCE) == []


def test_offline(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Offline, match=r"(?s)hf cannot reach its registry.*hf download words/data --repo-type dataset"):
        fetch(SOURCE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Offline, match="OfflineModeIsEnabled"):
        fetch(SOURCE)


@pytest.mark.parametrize(("name", "revision"), [("words/none", "main"), ("words/data", "0" * 40), ("words/data", "v2")])
def test_a_name_or_revision_that_the_hub_has_not(hub, name, revision):
    hub.publish("words/data", FILES)
    with pytest.raises(VersionGone, match=rf"datasets {name}@{revision} is not in the registry"):
        fetch(kdbench.Source("datasets", name, revision, files=("*",)))


def test_what_asks_for_a_login_says_so(hub):
    hub.publish("words/data", FILES)
    hub.gated = True
    with pytest.raises(FetchError, match=r"(?s)asks for a login.*GatedRepoError.*hf auth login"):
        fetch(SOURCE)


def test_files_that_the_hub_has_not(hub):
    hub.publish("words/data", {"README.md": b"#"})
    with pytest.raises(DamagedArchive, match=r"(?s)lacks what is wanted.*commit [0-9a-f]{40} matches \*\.parquet"):
        fetch(SOURCE)


def test_without_the_library(monkeypatch):
    def without(name: str):
        if name == "datasets":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr("kdbench.fetching.clients.distribution", without)
    with pytest.raises(ClientMissing, match=r"(?s)'datasets' is not installed.*pip install 'kdbench\[hub\]'"):
        fetch(SOURCE)


def test_a_source_of_the_hub_has_no_checksum_of_an_archive():
    with pytest.raises(PluginError, match="pinned by its commit"):
        kdbench.Source("datasets", "words/data", "main", sha256="0" * 64, files=("*",))


class TestCommands:
    @pytest.fixture
    def catalog(self):
        made = Catalog()
        made.add("dataset", "words", print, "words", {"task": "multiclass", "sources": (SOURCE,)})
        gated = kdbench.Source("datasets", "words/gated", "main", files=("*",), licence="its terms", login=True)
        made.add("dataset", "gated", print, "words", {"task": "multiclass", "sources": (gated,)})
        return made

    def test_list_fetch_and_verify(self, hub, catalog):
        commit = hub.publish("words/data", FILES)
        before = list_command(catalog, as_json=False)
        assert "datasets words/data@main" in before
        assert "CC0" in before
        said: list[str] = []
        assert fetch_data_command(catalog, ["words"], everything=False, fresh=False, say=said.append)
        assert "licence: CC0" in said[0]
        assert said[-1] == f"  commit {commit}"
        assert commit[:12] in list_command(catalog, as_json=False)
        row, _ = json.loads(list_command(catalog, as_json=True))["data"]
        assert (row["here"], row["commit"]) == (True, commit)
        assert verify_command(catalog, ["words"], say=said.append)
        (kdbench.source_path(SOURCE) / "README.md").write_bytes(b"")
        assert not verify_command(catalog, [], say=said.append)
        assert said[-1].strip() == "kdbench data fetch words --fresh"

    def test_all_leaves_out_what_asks_for_a_login(self, hub, catalog):
        hub.publish("words/data", FILES)
        said: list[str] = []
        assert fetch_data_command(catalog, [], everything=True, fresh=False, say=said.append)
        assert "gated: left out, for datasets words/gated@main asks for a login: kdbench data fetch gated" in said
        assert is_here(SOURCE)

    def test_a_damaged_manifest_does_not_keep_the_list_from_the_rest(self, hub, catalog):
        hub.publish("words/data", FILES)
        fetch(SOURCE)
        (directory(SOURCE) / "manifest.json").write_text("{")
        assert "words/gated" in list_command(catalog, as_json=False)
