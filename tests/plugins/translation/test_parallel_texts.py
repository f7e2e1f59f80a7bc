"""Parallel texts: what is read, what is refused, that no text is lost in pieces and none crosses splits."""

from __future__ import annotations

import numpy as np
import pytest
from packages import small_help, write_bible, write_help

import kdbench
from kdbench.data import BEGIN, END
from kdbench.engine.datasets import prepare
from kdbench_translation.help import read_pairs
from kdbench_translation.scores import text_of
from kdbench_translation.sentences import (
    SPLITS,
    Sentences,
    Sizes,
    as_arrays,
    as_data,
    split_by_document,
    without_near_duplicates,
)
from kdbench_translation.verses import read_verses

SIZES = Sizes(vocabulary=360, length=40, coverage=1.0)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory) -> list[Sentences]:
    pairs = read_pairs(*small_help(tmp_path_factory.mktemp("help")))
    return without_near_duplicates(Sentences(pair.english, pair.chinese, pair.file) for pair in pairs)


@pytest.fixture(scope="module")
def arrays(sentences):
    return as_arrays(sentences, SIZES)


def test_paragraphs_are_paired_by_page_and_id_and_what_is_not_translated_is_left_out(tmp_path):
    english = {"a/x.html": {"1": "One &amp; two", "2": "Same", "3": "Alone"}, "a/y.html": {"1": "Other page"}}
    chinese = {"a/x.html": {"2": "Same", "1": "一 <b>和</b>\n 二", "9": "孤"}}
    roots = write_help(tmp_path / "en", english, "en-US"), write_help(tmp_path / "zh", chinese, "zh-CN")
    (pair,) = read_pairs(*roots)
    assert pair == ("a/x.html", "par_id1", "One & two", "一 和 二")


def test_a_language_that_is_absent_or_no_utf8_is_told_by_name(tmp_path):
    english, chinese = small_help(tmp_path)
    with pytest.raises(kdbench.DataNotAvailable, match=r"help in zh-CN is not there[\s\S]*kdbench data fetch"):
        read_pairs(english, english)
    page = chinese / "usr/share/libreoffice/help/zh-CN/text/scalc/01/0003.html"
    page.write_bytes("<p id='par_id1'>打开".encode("gb18030"))
    with pytest.raises(
        kdbench.InvalidData, match=r"zh-CN/scalc/01/0003\.html, line 1, is not utf-8\n  byte 0xb4 at offset 16"
    ):
        read_pairs(english, chinese)
    other = write_help(tmp_path / "other", {"elsewhere.html": {"1": "别处"}}, "zh-CN")
    with pytest.raises(kdbench.InvalidData, match="no paragraph is in both languages"):
        read_pairs(english, other)


def test_verses_are_paired_by_place_and_a_chapter_is_a_document(tmp_path):
    one = {("Genesis", 1, 1): "In the beginning ", ("Genesis", 1, 3): "Let there be  light", ("Exodus", 2, 1): "And"}
    other = {("Genesis", 1, 1): "EN el principio", ("Genesis", 1, 3): "Sea la luz", ("Genesis", 1, 4): "Y vió"}
    roots = write_bible(tmp_path / "e", "kjv", "en", one), write_bible(tmp_path / "s", "rv", "es", other)
    assert read_verses(*roots) == [
        ("In the beginning", "EN el principio", "Genesis 1"),
        ("Let there be light", "Sea la luz", "Genesis 1"),
    ]


def test_a_bible_that_is_absent_of_another_language_or_damaged_is_told_by_name(tmp_path):
    place = {("Genesis", 1, 1): "In the beginning"}
    english, spanish = write_bible(tmp_path / "e", "kjv", "en", place), write_bible(tmp_path / "s", "rv", "es", place)
    with pytest.raises(kdbench.DataNotAvailable, match="kdbench data fetch kjv-sparv"):
        read_verses(english, tmp_path / "nowhere")
    with pytest.raises(kdbench.InvalidData, match="has 0 modules of language 'es'"):
        read_verses(english, english)
    (spanish / "usr/share/sword/modules/texts/ztext/rv/ot.bzz").write_bytes(b"not compressed, not at all")
    with pytest.raises(kdbench.InvalidData, match=r"block 0 of a Bible's 'ot' cannot be read"):
        read_verses(english, spanish)


def test_of_sentences_that_differ_in_case_digits_and_punctuation_alone_the_first_is_kept():
    given = [
        Sentences("Open file 1.", "打开文件", "a"),
        Sentences("open FILE 2!", "另一个", "b"),
        Sentences("Another", "打开文件！", "c"),
        Sentences("12", "十二", "d"),
        Sentences("Kept", "保留", "e"),
    ]
    assert [sentence.document for sentence in without_near_duplicates(given)] == ["a", "e"]


def test_no_document_and_no_sentence_is_in_two_splits(sentences):
    data = as_data(as_arrays(sentences, SIZES), source="tests", licence="none")
    dataset = prepare("text", data, fold=None, folds=None)
    parts = (dataset.train, dataset.validation, dataset.test)
    assert sum(len(part.labels) for part in parts) == len(sentences)
    for what in (data.groups, np.array([row[:40].tobytes() for row in data.inputs]),
                 np.array([row.tobytes() for row in data.labels])):  # fmt: skip
        seen = [set(what[part.index.numpy()].tolist()) for part in parts]
        assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))


def test_the_split_is_of_whole_documents_by_name_a_tenth_each_for_validation_and_test():
    documents = [f"page {n % 50}" for n in range(1000)]
    split = split_by_document(documents)
    assert np.bincount(split).tolist() == [800, 100, 100]
    assert all(len(set(split[[n for n in range(1000) if documents[n] == name]])) == 1 for name in set(documents))
    assert dict(zip(documents, split, strict=True)) == dict(
        zip(reversed(documents), split_by_document(documents[::-1]), strict=True)
    )


def test_no_text_is_lost_in_pieces(sentences, arrays):
    pieces = arrays["pieces"].tolist()
    sources = [text_of(row[:40].tolist(), pieces) for row in arrays["rows"]]
    targets = [text_of(row.tolist(), pieces) for row in arrays["labels"]]
    assert list(zip(sources, targets, strict=True)) == [sentence[:2] for sentence in sentences]


def test_a_character_of_the_test_split_alone_is_spelt_in_bytes(sentences):
    split = split_by_document([s.document for s in sentences])
    rare = [s._replace(target=s.target + "龘") if part == 2 else s for s, part in zip(sentences, split, strict=True)]
    made = as_arrays(rare, SIZES)
    pieces = made["pieces"].tolist()
    assert "龘" not in "".join(pieces)  # the vocabulary has not seen the test split
    tests = [text_of(row.tolist(), pieces) for row in made["labels"][made["split"] == 2]]
    assert tests
    assert all(text.endswith("龘") for text in tests)


def test_the_decoder_reads_the_beginning_and_then_what_it_should_have_said(arrays):
    for row, labels in zip(arrays["rows"], arrays["labels"], strict=True):
        target = labels[labels >= 0]
        assert target[-1] == END
        assert row[40 : 40 + len(target)].tolist() == [BEGIN, *target[:-1]]
        assert not row[40 + len(target) :].any()


def test_sizes_limit_items_and_lengths_and_too_much_is_refused_by_name(sentences):
    made = as_arrays(sentences, Sizes(vocabulary=360, length=40, train=20, validation=5, test=7, coverage=1.0))
    assert np.bincount(made["split"]).tolist() == [20, 5, 7]
    with pytest.raises(kdbench.InvalidData, match="no sentence is left for the train split"):
        as_arrays(sentences, Sizes(vocabulary=360, length=2, coverage=1.0))
    with pytest.raises(kdbench.InvalidData, match="no vocabulary of 9000 pieces can be learnt"):
        as_arrays(sentences, Sizes(vocabulary=9000, coverage=1.0))
    assert SPLITS[0] == "train"
