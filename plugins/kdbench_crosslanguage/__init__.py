"""Cross-language distillation: an English teacher and a Chinese student on aligned paragraphs of help pages."""

import kdbench
from kdbench_crosslanguage import sources
from kdbench_text import sources as text_sources

HELP = (text_sources.HELP_EN, text_sources.HELP_ZH)
TEACHER = {"dataset": "help-en-zh", "teacher": "linear", "teacher_view": "minilm-en", "teacher_recipe": "text-head"}
EMBEDDING = {"dataset": "help-sentences-6k", "teacher": "given-embedding", "teacher_view": "use-en"}
FEW = 0.05
"""The share of the Chinese train items whose labels a student is given."""
LABELS = {
    "supervised": ("scratch", {}),
    "unlabelled": ("cross_soft", {"temperature": 1.0}),
    "few-and-unlabelled": ("cross_soft", {"temperature": 1.0, "labelled": FEW}),
    "few": ("cross_soft", {"weight": 0.0, "labelled": FEW}),
}
"""What a Chinese student learns from: all labels; the English teacher's answers, and no label; those, and few labels;
the few labels alone, its twin."""
BAG, OTHER = {"student_view": "ngrams-zh", "recipe": "text-bag"}, {"student_view": "characters-zh", "recipe": "text"}
CLASSIFIERS = ({"student": "bag-s", **BAG}, {"student": "textcnn-s", **OTHER})
BOTH = {"dataset": "help-en-zh", "teacher": "bag-m", "teacher_view": "ngrams-en", "student": "bag-m", **BAG}
"""A student that can read both languages, as `multilingual` wants it: hashes of either in one table."""
SENTENCES = {
    "scratch": ("scratch", {}),
    "mse": ("logit_mse", {"ce": 0.0, "weight": 200.0}),
    "mse-and-contrast": ("logit_mse", {"weight": 200.0}),
    "rkd": ("rkd", {}),
    "contrastive_crossmodal": ("contrastive_crossmodal", {}),
}
"""`scratch` is InfoNCE against the encoder's embeddings of the batch, which a student without a teacher would not have;
`mse` the objective of Reimers and Gurevych (2020) for a student that reads the target language alone. A squared gap
between vectors of unit length is small, a mean over 512 numbers: hence the weight. Without it the gradients of a deep
student are of the size of AdamW's epsilon, and an encoder learns the mean embedding alone."""
QUICK_SENTENCES = ("scratch", "mse", "mse-and-contrast")
ENCODERS = ({"student": "bag-m", **BAG}, {"student": "encoder-s", **OTHER})


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
    for suite, quick, suffix, classifiers, encoders, methods in (
        ("cross-language", {}, "", CLASSIFIERS, ENCODERS, tuple(SENTENCES)),
        ("cross-language-quick", {"recipe": "text-quick"}, "@quick", CLASSIFIERS[:1], ENCODERS[:1], QUICK_SENTENCES),
    ):
        rows = [(TEACHER | pair | quick, LABELS[name], name) for pair in classifiers for name in LABELS]
        rows += [(EMBEDDING | pair | quick, SENTENCES[name], name) for pair in encoders for name in methods]
        if not quick:
            rows += [(BOTH, (name, {}), name) for name in ("scratch", "kd", "multilingual")]
        for pair, (method, params), name in rows:
            combo = kdbench.Combo(method=method, params=params, **pair)
            register(f"{combo.dataset}/{combo.pair}/{name}{suffix}", combo, suites=[suite], on_request=bool(quick))
