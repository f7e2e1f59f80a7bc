"""Cross-language distillation: an English teacher and a Chinese student on aligned paragraphs of help pages."""

import kdbench
from kdbench_crosslanguage import sources
from kdbench_text import sources as text_sources

HELP = (text_sources.HELP_EN, text_sources.HELP_ZH)


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
