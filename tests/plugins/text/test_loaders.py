"""The loaders on small files of the packages' formats: what is read, what is refused, that nothing leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from text_files import write_mail, write_page, write_tweets, write_wordnet

import kdbench
from kdbench.engine.datasets import Dataset, prepare
from kdbench_text import data, libreoffice, reviews, sources, spam, tokens, tweets, wordnet
from kdbench_text import help as help_pages

HEAD = b"sentiment,confidence,text\r\n"


def split_of(name: str, texts: list[str], labels: list[int], classes: tuple[str, ...], groups=None) -> Dataset:
    arrays = data.prepared(texts, labels, 8, groups=groups)
    return prepare(name, data.assembled(arrays, classes, sources.TWEETS), fold=None, folds=None)


def assert_no_key_is_shared(keys: list[object], dataset: Dataset) -> None:
    parts = [{keys[n] for n in split.index.tolist()} for split in (dataset.train, dataset.validation, dataset.test)]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))


# WordNet


def test_glosses_are_read_by_lexicographer_file(tmp_path):
    texts, labels = wordnet.glosses(write_wordnet(tmp_path, [("03", "an entity"), ("18", 'a sailor; "ahoy | there"')]))
    assert texts == ["an entity", 'a sailor; "ahoy | there"']
    assert [wordnet.CLASSES[label] for label in labels] == ["noun.Tops", "noun.person"]


def test_one_of_each_definition_is_kept_and_none_that_has_two_classes(tmp_path):
    rows = [("05", "a dog"), ("05", "A dog!"), ("05", 'a dog; "see the dog"'), ("06", "a cat"), ("20", "(a cat)")]
    assert wordnet.glosses(write_wordnet(tmp_path, rows)) == (["a dog"], [5])


def test_no_definition_is_in_two_splits_of_the_glosses(tmp_path):
    rows = [(file, f"{word}{mark}") for n in range(40) for file, word in (("05", f"animal {n}"), ("13", f"food {n}"))
            for mark in ("", "!", '; "an example"')]  # fmt: skip
    texts, labels = wordnet.glosses(write_wordnet(tmp_path, rows))
    names = sorted(set(labels))
    dataset = split_of("glosses", texts, [names.index(label) for label in labels], ("animal", "food"))
    assert_no_key_is_shared([tokens.plain(text.split(";")[0]) for text in texts], dataset)


def test_a_subset_keeps_the_shares_of_the_classes_and_is_the_same_each_time():
    labels = [0] * 900 + [1] * 90 + [2] * 10
    chosen = wordnet.subset(labels, 100)
    assert np.bincount([labels[n] for n in chosen]).tolist() == [90, 9, 5]
    assert chosen == wordnet.subset(labels, 100)
    assert chosen != sorted(chosen[:1] + list(range(103)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00001740 03 n 01 thing 0 000 without a gloss\n", "data.noun, line 2 is no synset"),
        ("00001740 45 n 01 thing 0 000 | gloss\n", "data.noun, line 2 is in the unknown lexicographer file '45'"),
        ("00001740 03 n 01 thing 0 000 |   \n", "the text of data.noun, line 2 is empty"),
    ],
)
def test_a_line_that_is_no_synset_is_refused_by_its_number(tmp_path, line, message):
    write_wordnet(tmp_path, [])
    with (tmp_path / "data.noun").open("a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(kdbench.InvalidData, match=message):
        wordnet.glosses(tmp_path)


def test_glosses_in_another_encoding_are_refused_and_a_missing_file_is_named(tmp_path):
    write_wordnet(tmp_path, [("03", "fine")])
    (tmp_path / "data.verb").write_bytes("  1 licence\n00 29 v | caf\xe9\n".encode("latin-1"))
    with pytest.raises(kdbench.InvalidData, match=r"data.verb, line 2, is not utf-8"):
        wordnet.glosses(tmp_path)
    (tmp_path / "data.verb").unlink()
    with pytest.raises(kdbench.DataNotAvailable, match=r"data.verb"):
        wordnet.glosses(tmp_path)


# Tweets


def test_tweets_are_read_with_their_classes_and_what_is_not_ascii_is_a_blank(tmp_path):
    table = HEAD + b'negative,0.7,"so, no \xd5\xa2 thanks"\r\nneutral,1,RT @a: hm http://t.co/x\r\npositive,1,hm @b\r\n'
    assert tweets.tweets(write_tweets(tmp_path, table + b"positive,1,@you http://t.co\r\n")) == (
        ["so, no    thanks"],
        [0],
    )  # "hm" has two classes once names and links are gone; of the last nothing is left


def test_no_tweet_is_in_two_splits_with_another_link(tmp_path):
    rows = [f"{label},1,{label} number {n} {link}" for n in range(30) for label in tweets.CLASSES
            for link in ("", "http://t.co/1", "@x")]  # fmt: skip
    texts, labels = tweets.tweets(write_tweets(tmp_path, HEAD + "\r\n".join(rows).encode()))
    assert len(texts) == 90
    assert_no_key_is_shared(texts, split_of("tweets", texts, labels, tweets.CLASSES))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"sentiment,words\r\nneutral,x\r\n", "has no column 'text'"),
        (b"", "no column 'sentiment' and no column 'text'"),
        (HEAD + b"neutral,1,x\r\nangry,1,y\r\n", "line 3 has the unknown label 'angry'"),
        (HEAD + b"neutral,1,\r\n", "line 2 is empty"),
        (HEAD + b"neutral,1\r\n", "line 2 is empty"),
    ],
)
def test_a_table_that_is_not_as_it_should_be_is_refused_by_column_or_line(tmp_path, table, message):
    with pytest.raises(kdbench.InvalidData, match=message):
        tweets.tweets(write_tweets(tmp_path, table))


# Spam


def write_corpus(directory: Path) -> Path:
    for number, folder in enumerate(spam.FOLDERS):
        write_mail(directory, folder, 1, f"From: a@b.c\nSubject: {folder}\n\nmessage number {number}\n")
    return directory


def test_mail_is_its_subject_and_text_without_headers_and_markup(tmp_path):
    html = (
        "Subject: Win\nX-Spam: secret\nContent-Type: multipart/alternative; boundary=B\n\n--B\n"
        "Content-Type: text/html\n"
        "Content-Transfer-Encoding: quoted-printable\n\n<style>p {}</style><b>R=69ch</b> &amp; famous\n--B--\n"
    )
    write_mail(write_corpus(tmp_path), "spam-2", 2, html)
    texts, labels, _ = spam.messages(tmp_path)
    assert " ".join(texts[-1].split()) == "Win Rich & famous"
    assert labels == [0, 0, 0, 1, 1, 1]


def test_answers_are_in_the_group_of_what_they_answer(tmp_path):
    write_corpus(tmp_path)
    for number, subject in enumerate(("Cars", "Re: Cars", "RE: [list] re: cars"), 10):
        write_mail(tmp_path, "easy-ham-1", number, f"Subject: {subject}\n\nanswer {number}\n")
    texts, _, groups = spam.messages(tmp_path)
    assert {group for text, group in zip(texts, groups, strict=True) if "answer" in text} == {"cars"}


def test_no_thread_is_in_two_splits(tmp_path):
    for n in range(24):
        for folder in spam.FOLDERS:
            for prefix in ("", "Re: "):
                write_mail(tmp_path, folder, 2 * n + bool(prefix), f"Subject: {prefix}{folder} {n}\n\n{prefix} x {n}\n")
    texts, labels, groups = spam.messages(tmp_path)
    assert_no_key_is_shared(groups, split_of("spam", texts, labels, spam.CLASSES, groups))


def test_files_that_are_no_messages_are_refused_by_name(tmp_path):
    path = write_mail(write_corpus(tmp_path), "spam-1", 3, "Subject: x\n\ny", group="easy-ham-1")
    with pytest.raises(kdbench.InvalidData, match=r"spam-1/00003.json says that it is of the unknown group"):
        spam.messages(tmp_path)
    path.write_text('{"id": 3, "group": "spam-1"}', encoding="utf-8")
    with pytest.raises(kdbench.InvalidData, match=r"spam-1/00003.json is not one of its messages"):
        spam.messages(tmp_path)
    path.write_bytes(b'{"text": "\xff"}')
    with pytest.raises(kdbench.InvalidData, match=r"spam-1/00003.json, line 1, is not utf-8"):
        spam.messages(tmp_path)


# Reviews


def test_reviews_are_lines_and_one_of_each_is_kept(tmp_path):
    (tmp_path / "neg.txt").write_text("质量不好。\n质量不好！\n\n一般\n", encoding="utf-8")
    (tmp_path / "pos.txt").write_text("很好\n一般。\n", encoding="utf-8")
    assert reviews.reviews(tmp_path) == (["质量不好。", "很好"], [0, 1])


def test_no_review_is_in_two_splits(tmp_path):
    for name, word in zip(reviews.FILES, ("差", "好"), strict=True):
        lines = [f"{word}{n}{mark}" for n in range(100, 130) for mark in ("。", "！", "")]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    texts, labels = reviews.reviews(tmp_path)
    assert_no_key_is_shared([text.rstrip("。！") for text in texts], split_of("r", texts, labels, reviews.CLASSES))


def test_reviews_in_gb18030_are_refused_by_line(tmp_path):
    (tmp_path / "neg.txt").write_text("fine\n", encoding="utf-8")
    (tmp_path / "pos.txt").write_bytes("ok\n很好\n".encode("gb18030"))
    with pytest.raises(kdbench.InvalidData, match=r"pos.txt, line 2, is not utf-8"):
        reviews.reviews(tmp_path)


# LibreOffice's help


def write_help(directory: Path, text: str = "Page {page} of module {module}") -> Path:
    for module in help_pages.MODULES:
        for page in range(6):
            write_page(
                directory, f"{module}/01/page{page}",
                "\n".join(
                    f'<p id="par_id{n}" class="paragraph">{text.format(module=module, page=page)} row {n}</p>'
                    for n in range(4)
                ),
            )  # fmt: skip
    return directory


def test_paragraphs_are_read_by_id_and_what_one_system_alone_is_shown_is_left_out(tmp_path):
    body = """<h1 id="hd_id1" dir="auto"><a name="x"></a>Title <br>line</h1>
    <p id="par_id2">Press <span id="sw" class="switchinline"><span hidden="true" id="MACx" class="MAC"><b>Cmd</b></span>
    <span hidden="true" id="defaultx"><b>Ctrl</b></span></span>+C &amp; <img src="a.png"> go.</p>
    <p id="bm_HID"></p><p id="par_idN3"><a name="y"></a></p><p>without id</p>
    <ul><li><p id="par_4">unclosed <li><p id="par_5">last</p></ul>"""
    path = write_page(tmp_path, "scalc/a", body)
    assert help_pages.paragraphs("x", path, "a") == {
        "hd_id1": "Title line", "par_id2": "Press Ctrl+C & go.", "par_4": "unclosed", "par_5": "last",
    }  # fmt: skip


def test_paragraphs_of_two_modules_are_left_out_and_no_page_is_in_two_splits(tmp_path):
    write_help(tmp_path)
    for module in ("scalc", "swriter"):
        write_page(
            tmp_path, f"{module}/01/more", '<p id="par_id1">Choose the same menu.</p><p id="par_id2">Two words</p>'
        )
    texts, labels, groups = libreoffice.modules(tmp_path)
    assert len(texts) == 6 * 6 * 4
    dataset = split_of("help", texts, labels, help_pages.MODULES, groups)
    assert_no_key_is_shared(groups, dataset)
    assert_no_key_is_shared([tokens.plain(text) for text in texts], dataset)


def test_a_page_in_another_encoding_and_a_module_that_is_missing_are_named(tmp_path):
    write_help(tmp_path)
    (tmp_path / "text/smath/01/page3.html").write_bytes('<p id="par_id1">Größe</p>'.encode("latin-1"))
    with pytest.raises(kdbench.InvalidData, match=r"smath/01/page3.html, line 1, is not utf-8"):
        libreoffice.modules(tmp_path)
    for path in (tmp_path / "text/smath").rglob("*.html"):
        path.unlink()
    with pytest.raises(kdbench.DataNotAvailable, match="holds no page"):
        libreoffice.modules(tmp_path)
