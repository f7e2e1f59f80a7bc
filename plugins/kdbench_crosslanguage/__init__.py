"""Cross-language distillation: an English teacher and a Chinese student on aligned paragraphs of help pages."""

import kdbench
from kdbench_crosslanguage import sources
from kdbench_text import sources as text_sources

HELP = (text_sources.HELP_EN, text_sources.HELP_ZH)
FEW = 0.05
"""The share of the Chinese train items whose labels a student is given."""
LABELS = {
    "supervised": ("scratch", {}),
    "unlabelled": ("cross_soft", {"temperature": 2.0}),
    "few-and-unlabelled": ("cross_soft", {"temperature": 2.0, "labelled": FEW}),
    "few": ("cross_soft", {"weight": 0.0, "labelled": FEW}),
}
"""What a Chinese student learns from: all labels; the English teacher's answers, and no label; those, and few labels;
the few labels alone, its twin."""
CLASSIFIERS = (
    {"student": "textcnn-s", "student_view": "characters-zh"},
    {"student": "bag-s", "student_view": "ngrams-zh"},
)
QUICK_SENTENCES = ("scratch", "logit_mse", "rkd")
SENTENCES = (*QUICK_SENTENCES, "contrastive_crossmodal")
MSE_ALONE = {"logit_mse": {"ce": 0.0}}
"""The objective of Reimers and Gurevych (2020) for a student that reads the target language alone."""
ENCODERS = (
    {"student": "encoder-s", "student_view": "characters-zh"},
    {"student": "bag-m", "student_view": "ngrams-zh"},
)


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """The aligned help, for classification and for retrieval."""
    register(
        "help-en-zh",
        "kdbench_crosslanguage.data:help_en_zh",
        task="multiclass",
        classes=6,
        title="LibreOffice's help in English and Chinese by application, with MiniLM's embeddings of the English",
        modality="text",
        licence="MPL-2.0; Apache-2.0",
        sources=(*HELP, text_sources.MINILM),
        fix="kdbench data fetch help-en-zh",
        requires=("transformers",),
        extra="text",
    )
    register(
        "help-sentences-6k",
        "kdbench_crosslanguage.data:help_sentences_6k",
        task="retrieval",
        title="6,000 of the aligned paragraphs: Chinese finds the English sentence's USE embedding",
        modality="text",
        licence="MPL-2.0; Apache-2.0",
        sources=(*HELP, sources.USE),
        fix="kdbench data fetch help-sentences-6k",
    )


@kdbench.hookimpl
def kdbench_register_teachers(register):
    """The sentence encoder's embedding, which the dataset holds."""
    register(
        "given-embedding",
        "kdbench_crosslanguage.models:given",
        family="embedding",
        title="the embedding that the view holds, as it is",
        source="Yang et al. (2020) for use-en and use-zh",
        pretrained=True,
    )


@kdbench.hookimpl
def kdbench_register_combos(register):
    """Labels and soft labels across languages, then sentence embeddings; both in full and with fewer epochs."""
    for suite, recipe, suffix, classifiers, encoders, methods in (
        ("cross-language", "text", "", CLASSIFIERS, ENCODERS, SENTENCES),
        ("cross-language-quick", "text-quick", "@quick", CLASSIFIERS[:1], ENCODERS[1:], QUICK_SENTENCES),
    ):
        for pair in classifiers:
            for name, (method, params) in LABELS.items():
                combo = kdbench.Combo(
                    dataset="help-en-zh", teacher="linear", teacher_view="minilm-en", teacher_recipe="text-head",
                    method=method, params=params, recipe=recipe, **pair,
                )  # fmt: skip
                register(f"{combo.dataset}/{combo.pair}/{name}{suffix}", combo, suites=[suite])
        for pair in encoders:
            for name, combo in kdbench.grid(
                methods=methods, recipes=[recipe], params=MSE_ALONE, dataset="help-sentences-6k",
                teacher="given-embedding", teacher_view="use-en", **pair,
            ):  # fmt: skip
                register(name + suffix, combo, suites=[suite])
