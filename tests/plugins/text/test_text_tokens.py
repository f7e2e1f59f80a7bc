"""Tokens, their hashes, and which texts count as one."""

from __future__ import annotations

import binascii

import numpy as np
import pytest

import kdbench
from kdbench_text import tokens


def test_words_are_lower_case_and_other_signs_stand_alone():
    assert tokens.words("Don't PANIC: 42!") == ["don", "'", "t", "panic", ":", "42", "!"]
    assert tokens.characters("质量 OK！") == ["质", "量", "o", "k", "！"]


def test_indices_are_hashes_cut_and_padded_on_the_right():
    found = tokens.indices([["a", "b", "c"], ["b"]], 2, "words")
    a, b = (1 + binascii.crc32(one) % ((1 << 14) - 1) for one in (b"a", b"b"))
    assert found.tolist() == [[a, b], [b, 0]]
    assert tokens.bucket("é", 1 << 13) == 1 + binascii.crc32(b"\xc3\xa9") % ((1 << 13) - 1)


def test_views_are_tokens_and_tokens_with_bigrams():
    found = tokens.views(["one two three", "one"], 2)
    assert {view: array.shape for view, array in found.items()} == {"words": (2, 2), "ngrams": (2, 3)}
    assert found["ngrams"][0].tolist() == [tokens.bucket(one, 1 << 16) for one in ("one", "two", "one two")]
    assert found["ngrams"][1, 1:].tolist() == [0, 0]
    assert list(tokens.views(["质量好"], 3, tokens.characters)) == ["characters", "ngrams"]


def test_no_hash_is_padding():
    found = tokens.indices([[f"word{n}" for n in range(50_000)]], 50_000, "characters")
    assert found.min() == 1
    assert found.max() == tokens.BUCKETS["characters"] - 1


def test_texts_that_differ_in_case_and_punctuation_count_once_and_two_labels_rule_one_out():
    texts = ["A sea-bird.", "a sea bird", "Other", "b", "B!"]
    keys = [tokens.plain(text) for text in texts]
    assert tokens.one_of_each(keys, [0, 0, 1, 0, 1]) == [0, 2]


def test_bytes_of_another_encoding_are_refused_by_file_and_line():
    with pytest.raises(kdbench.InvalidData, match=r"'tweets': a.txt, line 2, is not utf-8"):
        tokens.decoded("tweets", "eins\nzwölf".encode("latin-1"), "a.txt")


def test_an_empty_text_is_refused_by_its_place():
    with pytest.raises(kdbench.InvalidData, match="the text of line 7 is empty"):
        tokens.check_texts("tweets", [("line 6", "x"), ("line 7", " \t")])


def test_indices_fit_the_type_of_the_engine():
    assert np.float32(max(tokens.BUCKETS.values()) - 1) == max(tokens.BUCKETS.values()) - 1
