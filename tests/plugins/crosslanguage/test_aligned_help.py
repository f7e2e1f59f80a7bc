"""Aligned help pages: what pairs up, what is left out, what is refused, that nothing leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kdbench
from kdbench.engine.datasets import prepare
from kdbench_crosslanguage import data, pairs
from kdbench_crosslanguage.models import given
from kdbench_text.help import MODULES

PAGE = '<!DOCTYPE html><html><head><meta charset="UTF-8"></head><body><div id="DisplayArea">{}</div></body></html>'
NUMBERS = "零一二三四五六七八九"


def write_page(directory: Path, page: str, paragraphs: dict[str, str]) -> Path:
    path = directory / "text" / f"{page}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(f'<p id="{name}" class="paragraph">{text}</p>\n' for name, text in paragraphs.items())
    path.write_text(PAGE.format(body), encoding="utf-8")
    return path


@pytest.fixture
def languages(tmp_path) -> tuple[Path, Path]:
    """Six pages of four paragraphs in every module, both languages."""
    english, chinese = tmp_path / "en-US", tmp_path / "zh-CN"
    for m, module in enumerate(MODULES):
        for n in range(6):
            rows = {f"par_id{k}": f"Module {module} of page {n}, row {k}" for k in range(4)}
            write_page(english, f"{module}/p{n}", rows)
            rows = {name: f"模块{NUMBERS[m]}的页{NUMBERS[n]}行{NUMBERS[k]}" for k, name in enumerate(rows)}
            write_page(chinese, f"{module}/p{n}", rows)
    return english, chinese


def test_paragraphs_pair_up_by_page_and_id(languages):
    english, chinese = languages
    write_page(english, "smath/q", {"par_id1": "A new formula bar", "par_id2": "Only in English here"})
    write_page(chinese, "smath/q", {"par_id3": "只有中文", "par_id1": "新的公式栏"})
    found = [pair for pair in pairs.aligned("x", *languages) if pair.page == "smath/q"]
    assert found == [pairs.Aligned("smath/q", "par_id1", "A new formula bar", "新的公式栏")]
    assert found[0].module == "smath"


def test_what_is_not_translated_or_said_before_is_left_out(languages):
    english, chinese = languages
    texts = {
        "par_id1": ("Not translated at all", "Not translated at all"),
        "par_id2": ("Only in other signs", "ONLY IN OTHER SIGNS"),
        "par_id3": ("Two words", "两个词"),
        "par_id4": ("Choose the same menu", "选择菜单"),
        "par_id5": ("Choose, the same menu!", "选择这个菜单"),
        "par_id6": ("Select a menu entry", "选择，菜单"),
        "par_id7": ("Said in two modules", "在两个模块里"),
    }
    for directory, side in ((english, 0), (chinese, 1)):
        write_page(directory, "scalc/q", {name: both[side] for name, both in texts.items()})
        write_page(directory, "sdatabase/q", {"par_id7": texts["par_id7"][side]})
    found = [pair.paragraph for pair in pairs.aligned("x", *languages) if pair.page.endswith("/q")]
    assert found == ["par_id4"]


def test_no_page_and_no_text_of_either_language_is_in_two_splits(languages):
    for directory, text in zip(languages, ("The same in all pages {}", "每页都一样{}"), strict=True):
        for n in range(6):
            write_page(directory, f"swriter/copy{n}", {"par_id1": text.format("!" * n)})
    found = pairs.aligned("x", *languages)
    assert len(found) == 6 * 6 * 4 + 1
    arrays = data.views(found) | {"minilm-en": np.random.default_rng(0).normal(size=(len(found), 384))}
    dataset = prepare("help-en-zh", data.classification(arrays), fold=None, folds=None)
    for text in ("page", "english", "chinese"):
        parts = [
            {getattr(found[n], text).strip("!") for n in split.index.tolist()}
            for split in (dataset.train, dataset.validation, dataset.test)
        ]
        assert all(parts)
        assert len(set.union(*parts)) == sum(map(len, parts))


def test_views_of_both_languages_have_one_shape_and_their_own_tokens(languages):
    arrays = data.views(pairs.aligned("x", *languages)[:3])
    shapes = {view: array.shape for view, array in arrays.items() if view not in {"labels", "groups"}}
    assert shapes == {"words-en": (3, 64), "ngrams-en": (3, 127), "characters-zh": (3, 64), "ngrams-zh": (3, 127)}
    assert np.count_nonzero(arrays["characters-zh"][0]) == len("模块零的页零行零")


def test_whole_pages_are_drawn_up_to_a_number_of_items_the_same_each_time(languages):
    found = pairs.aligned("x", *languages)
    chosen = data.drawn_pages(found, 50)
    assert len(chosen) == 48
    assert len({pair.page for pair in chosen}) == 12
    assert chosen == data.drawn_pages(found, 50)
    assert chosen != found[:48]


def test_each_chinese_item_has_to_find_its_own_english_embedding(languages):
    found = pairs.aligned("x", *languages)
    english = np.random.default_rng(0).normal(size=(len(found), 16)).astype(np.float32)
    arrays = data.views(found, languages=("zh",)) | {"use-en": english, "use-zh": -english}
    dataset = prepare("help-sentences-6k", data.retrieval(arrays), fold=None, folds=None)
    info = dataset.info("use-zh")
    assert info.num_classes == 16
    assert given(info)(dataset.test.inputs["use-zh"]).equal(dataset.test.inputs["use-zh"])
    assert np.array_equal(dataset.test.inputs["use-en"].numpy(), english[dataset.test.index])
    with pytest.raises(ValueError, match="view 'characters-zh'"):
        given(dataset.info("characters-zh"))


def test_a_language_that_is_absent_is_named(languages):
    english, chinese = languages
    with pytest.raises(kdbench.DataNotAvailable, match="language 'zh-TW' is not on this machine"):
        pairs.aligned("help-en-zh", english, chinese.with_name("zh-TW"))


def test_a_page_of_another_encoding_is_named_with_its_language(languages):
    path = languages[1] / "text/schart/p2.html"
    path.write_bytes(path.read_text(encoding="utf-8").encode("gb18030"))
    with pytest.raises(kdbench.InvalidData, match=r"zh-CN/text/schart/p2.html, line 1, is not utf-8"):
        pairs.aligned("help-en-zh", *languages)


def test_languages_without_a_page_in_common_are_refused(languages):
    for module in MODULES:
        root = languages[1] / "text" / module
        for path in list(root.glob("*.html")):
            path.rename(path.with_name(f"other-{path.name}"))
    with pytest.raises(kdbench.InvalidData, match="no page is in both languages"):
        pairs.aligned("help-en-zh", *languages)
