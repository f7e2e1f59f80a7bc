"""The pairs of the suites text and text-quick, and what their students learn from."""

from __future__ import annotations

from collections.abc import Iterator

import kdbench

METHODS = ("scratch", "label_smoothing", "kd", "dkd", "dist", "nkd", "rkd", "crd")
TRANSFORMERS = ("scratch", "label_smoothing", "kd", "distilbert", "tinybert", "minilm")
QUICK = ("scratch", "label_smoothing", "kd", "dist")
PARAMS = {"kd": {"temperature": 2.0}}
"""That of DistilBERT (Sanh et al., 2019); the default of 4 is from images."""

FEW = 0.1
"""The share of the train items whose labels a student is given, where it is not given all."""
LABELS = {
    "unlabelled": {"temperature": 1.0},
    "few-and-unlabelled": {"temperature": 1.0, "labelled": FEW},
    "few": {"weight": 0.0, "labelled": FEW},
}
"""Parameters of cross_soft: the teacher's answers and no label; those, and few labels; the few labels alone, their
undistilled twin. The teacher has learnt from all labels."""

EMBEDDED = {"teacher": "linear", "teacher_view": "minilm", "teacher_recipe": "text-head"}
FINETUNED = {"teacher": "minilm", "teacher_view": "wordpieces", "teacher_recipe": "text-finetune"}
TFIDF = {"teacher": "tfidf-logistic", "teacher_view": "ngrams"}
BAG = {"student": "bag-s", "student_view": "ngrams", "recipe": "text-bag"}
CNN = {"student": "textcnn-s", "student_view": "words", "recipe": "text"}
GLOSSES = {"dataset": "wordnet-glosses-12k", **EMBEDDED, **BAG}
PAIRS = (
    GLOSSES,
    {"dataset": "wordnet-glosses-12k", **FINETUNED, **BAG},
    {"dataset": "wordnet-glosses-12k", **TFIDF, **BAG},
    {"dataset": "wordnet-glosses-12k", **EMBEDDED, **CNN},
    {"dataset": "wordnet-glosses-12k", **EMBEDDED, **CNN, "student": "gru-s"},
    {"dataset": "libreoffice-modules", **EMBEDDED, **BAG},
    {"dataset": "libreoffice-modules", **EMBEDDED, **CNN},
    {"dataset": "libreoffice-modules", **FINETUNED, **BAG},
    {"dataset": "wordnet-glosses", "teacher": "textcnn-l", "teacher_view": "words", **CNN},
    {"dataset": "wordnet-glosses", "teacher": "bag-linear", "teacher_view": "ngrams", "teacher_recipe": "text-bag",
     **CNN},
    {"dataset": "spam-assassin", "teacher": "textcnn-l", "teacher_view": "words", "teacher_recipe": "text", **BAG},
    {"dataset": "chinese-reviews", "teacher": "textcnn-l", "teacher_view": "characters", **CNN,
     "student_view": "characters"},
)  # fmt: skip
ENCODERS = (
    {"dataset": "tweets", "teacher": "encoder-l", "teacher_view": "words", "student": "encoder-s",
     "student_view": "words", "recipe": "text"},
    {"dataset": "wordnet-glosses-12k", **FINETUNED, "student": "encoder-s", "student_view": "wordpieces",
     "recipe": "text"},
)  # fmt: skip
"""Two transformers on the same tokens: the methods that compare their layers want both."""


def suites() -> Iterator[tuple[str, kdbench.Combo, str]]:
    """Name, combo and suite of each."""
    for suite, suffix, quick, pairs, methods in (
        ("text", "", {}, PAIRS, METHODS),
        ("text", "", {}, ENCODERS, TRANSFORMERS),
        ("text-quick", "@quick", {"recipe": "text-quick"}, (GLOSSES,), QUICK),
    ):
        for pair in pairs:
            rows = [(method, method, PARAMS.get(method, {})) for method in methods if _serves(method, pair)]
            if methods != TRANSFORMERS and "minilm" in (pair["teacher"], pair["teacher_view"]):
                rows += [(name, "cross_soft", params) for name, params in LABELS.items()]
            for name, method, params in rows:
                combo = kdbench.Combo(method=method, params=params, **(pair | quick))
                yield f"{combo.dataset}/{combo.pair}/{name}{suffix}", combo, suite


def _serves(method: str, pair: dict[str, str]) -> bool:
    """Whether the method has what it reads: a linear model of tokens has no layer before its answers."""
    return method not in {"rkd", "crd"} or pair["teacher"] not in {"bag-linear", "tfidf-logistic"}
