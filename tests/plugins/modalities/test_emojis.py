"""Reading emojibase, families of variants, and bags of n-grams."""

from __future__ import annotations

from collections import Counter
from math import log, sqrt
from zlib import crc32

import numpy as np
import pytest
from emoji_files import entry, write_emojibase

import kdbench
from kdbench_modalities.emojis import Emoji, read_emojis
from kdbench_modalities.families import families
from kdbench_modalities.words import bags, grams

CAT, DOG = entry("1F408", "cat"), entry("1F415", "dog")
ZH = [entry("1F408", "猫"), entry("1F415", "狗")]


def named(*labels, codes=None):
    codes = codes or [f"2{number:03X}" for number in range(len(labels))]
    return [Emoji(code, "group", "subgroup", label, {"en": label}) for code, label in zip(codes, labels, strict=True)]


def test_an_emoji_has_its_group_and_a_text_of_label_and_tags_in_each_language(tmp_path):
    found = read_emojis(write_emojibase(tmp_path, {"en": [CAT, DOG], "zh": ZH}), ("en", "zh"))
    assert [one.hexcode for one in found] == ["1F408", "1F415"]
    assert (found[0].group, found[0].subgroup, found[0].label) == ("animals-nature", "cat", "cat")
    assert found[0].texts == {"en": "cat tag of cat", "zh": "猫 tag of 猫"}


def test_letters_of_flags_and_loose_skin_tones_are_left_out(tmp_path):
    letter = entry("1F1E6", "regional indicator A", group=None)
    tone = entry("1F3FB", "light skin tone", group=2)
    assert len(read_emojis(write_emojibase(tmp_path, {"en": [letter, tone, CAT]}), ("en",))) == 1


def test_a_language_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(kdbench.InvalidData, match=r"no language 'tlh'(.|\n)*tlh/data.json(.|\n)*en, zh"):
        read_emojis(write_emojibase(tmp_path, {"en": [CAT], "zh": ZH}), ("en", "tlh"))


def test_an_emoji_without_a_text_in_a_language_is_named(tmp_path):
    with pytest.raises(kdbench.InvalidData, match=r"1F415 \(dog\) has no text in language 'zh'"):
        read_emojis(write_emojibase(tmp_path, {"en": [CAT, DOG], "zh": ZH[:1]}), ("en", "zh"))


@pytest.mark.parametrize("bad", [entry("1F600", "grinning", group=None), entry("1F600", "grinning", group=77)])
def test_an_emoji_without_a_group_is_named(tmp_path, bad):
    with pytest.raises(kdbench.InvalidData, match=r"emoji 1F600 \(grinning\) has no group(.|\n)*0 smileys-emotion"):
        read_emojis(write_emojibase(tmp_path, {"en": [CAT, bad]}), ("en",))


def test_an_emoji_without_a_label_is_named(tmp_path):
    with pytest.raises(kdbench.InvalidData, match=r"emoji 1F600 .* has no label"):
        read_emojis(write_emojibase(tmp_path, {"en": [CAT, entry("1F600", " ")]}), ("en",))


def test_a_row_without_a_hexcode_is_named_by_its_place(tmp_path):
    with pytest.raises(kdbench.InvalidData, match="entry 1 has no hexcode"):
        read_emojis(write_emojibase(tmp_path, {"en": [CAT, {"label": "dog"}]}), ("en",))


def test_a_damaged_file_is_named(tmp_path):
    directory = write_emojibase(tmp_path, {"en": [CAT]})
    (directory / "en/data.json").write_bytes(b'[{"hexcode": "1F408", "label": "\xff')
    with pytest.raises(kdbench.InvalidData, match=r"en/data.json is damaged"):
        read_emojis(directory, ("en",))


def test_data_that_was_not_fetched_is_not_available(tmp_path):
    with pytest.raises(kdbench.DataNotAvailable, match="kdbench data fetch emoji"):
        read_emojis(tmp_path, ("en",))


@pytest.mark.parametrize(
    "codes",
    [
        ("1F44B", "1F44B-1F3FD"),  # a skin tone
        ("1F937-200D-2642-FE0F", "1F937-200D-2640-FE0F", "1F937"),  # man, woman, person shrugging
        ("1F468-200D-1F680", "1F469-200D-1F680", "1F9D1-200D-1F680"),  # astronauts
        ("1F468-200D-1F9B0", "1F469-200D-1F9B3", "1F9D1"),  # hair
        ("1F6B6", "1F6B6-200D-27A1-FE0F"),  # facing right
        ("1F474", "1F9D3"),
    ],
)
def test_variants_by_code_points_are_one_family(codes):
    labels = [f"{name} thing" for name in ("alpha", "beta", "gamma")][: len(codes)]
    assert len(set(families(named(*labels, codes=codes)))) == 1


@pytest.mark.parametrize(
    "labels",
    [
        ("red heart", "light blue heart"),
        ("man dancing", "person dancing"),
        ("one o'clock", "eleven o'clock"),
        ("white medium-small square", "black large square"),
        ("keycap: 1", "keycap: *"),
        ("left arrow", "up-right arrow"),
        ("waning gibbous moon", "full moon"),
    ],
)
def test_variants_by_label_are_one_family(labels):
    assert len(set(families(named(*labels)))) == 1


def test_other_emoji_are_families_of_their_own():
    assert len(set(families(named("cat", "cat face", "green salad", "heart suit", "red", "orange")))) == 6


def test_the_same_picture_by_one_artist_joins_two_families_and_all_their_variants():
    emojis = named("red heart", "blue heart", "snowman", "cloud")
    pictures = np.arange(8, dtype=np.uint8).reshape(4, 2, 1)
    pictures[2, 1] = pictures[1, 1]
    assert families(emojis, pictures).tolist() == [0, 0, 0, 1]


def test_a_bag_counts_what_a_plain_loop_counts():
    text = "The cat, the cats"
    pieces = [
        *("<the>", "<th", "the", "he>", "<the", "the>"),
        *("<cat>", "<ca", "cat", "at>", "<cat", "cat>"),
        *("<the>", "<th", "the", "he>", "<the", "the>"),
        *("<cats>", "<ca", "cat", "ats", "ts>", "<cat", "cats", "ats>", "<cats", "cats>"),
    ]
    wanted = [0.0] * 64
    for piece, count in Counter(pieces).items():
        wanted[crc32(piece.encode()) % 64] += 1 + log(count)
    length = sqrt(sum(value * value for value in wanted))
    assert bags([text], 64)[0] == pytest.approx([value / length for value in wanted], abs=1e-6)


def test_chinese_is_read_by_characters_and_pairs():
    assert sorted(grams("笑脸, 猫")) == sorted(["笑", "脸", "笑脸", "猫"])


def test_a_text_without_words_is_a_row_of_zeros():
    assert not bags(["!?", "cat"], 16)[0].any()
