"""Machine translation: parallel texts, small encoder-decoders, BLEU and chrF of what they write."""

import kdbench

MODELS = {
    "mt-s": "width 64, 1+1 layers",
    "mt-m": "width 96, 2+2 layers",
    "mt-l": "width 128, 2+2 layers",
    "mt-xl": "width 192, 3+3 layers",
}
METRICS = {"bleu": "BLEU", "chrf": "chrF", "tokens_per_s": "tokens per second written"}
METHODS = (
    "scratch",
    "label_smoothing",
    "word_kd",
    "seq_kd",
    "skew_kl",
    "reverse_kl",
    "gkd",
)
QUICK_METHODS = ("scratch", "label_smoothing", "word_kd", "seq_kd")
NEEDS = {"requires": ("sentencepiece", "sacrebleu"), "extra": "translation"}
NEEDS_VERSES = {**NEEDS, "requires": (*NEEDS["requires"], "pysword")}
QUICK_MEASURES = ("bleu:greedy", "chrf:greedy")
MEASURES = (*QUICK_MEASURES, "bleu:beam4", "chrf:beam4", "tokens_per_s:greedy", "tokens_per_s:beam4")


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """Both texts, whole and short."""
    from kdbench_translation.sources import BIBLES, HELP

    for name, factory, title, more in (
        (
            "help-en-zh-mt",
            "help_long",
            "LibreOffice's help, English to Chinese, at most 48 pieces",
            {"sources": HELP, "measures": MEASURES, **NEEDS},
        ),
        (
            "help-en-zh-mt-short",
            "help_short",
            "LibreOffice's help, English to Chinese, 3,000 train paragraphs of at most 16 pieces",
            {"sources": HELP, "measures": QUICK_MEASURES, **NEEDS},
        ),
        (
            "kjv-sparv",
            "verses_long",
            "the Bible, English to Spanish, verses of at most 48 pieces",
            {"sources": BIBLES, "measures": MEASURES, **NEEDS_VERSES},
        ),
        (
            "kjv-sparv-short",
            "verses_short",
            "the Bible, English to Spanish, 2,877 train verses of at most 28 pieces",
            {"sources": BIBLES, "measures": QUICK_MEASURES, **NEEDS_VERSES},
        ),
    ):
        register(
            name,
            f"kdbench_translation.data:{factory}",
            task="seq2seq",
            title=title,
            licence=more["sources"][0].licence,
            modality="text",
            fix=f"kdbench data fetch {name}",
            **more,
        )


@kdbench.hookimpl
def kdbench_register_teachers(register):
    """The models."""
    _register_models(register)


@kdbench.hookimpl
def kdbench_register_students(register):
    """The same models."""
    _register_models(register)


def _register_models(register):
    for name, title in MODELS.items():
        register(
            name,
            f"kdbench_translation.models:{name.replace('-', '_')}",
            family="translation",
            title=f"encoder-decoder transformer, {title}",
            source="Vaswani et al. (2017)",
        )


@kdbench.hookimpl
def kdbench_register_metrics(register):
    """Scores of what a model writes, greedily or by beam search: `--measure bleu:beam4`."""
    for name, title in METRICS.items():
        register(
            name,
            f"kdbench_translation.scores:{'tokens_per_second' if name == 'tokens_per_s' else name}",
            of="model",
            scheme=True,
            info=name != "tokens_per_s",
            shared=name != "tokens_per_s",
            of_teacher=True,
            tasks=("seq2seq",),
            title=title,
        )


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """How translation models train.

    The checkpoint is chosen by token accuracy, not loss: on real targets the log-loss of a student that learns beam
    search's own targets (`seq_kd`) rises from early on while its accuracy still does.
    """
    recipe = kdbench.Recipe(
        optimizer="adamw", lr=2e-3, weight_decay=1e-2, epochs=30, batch_size=64, warmup_epochs=1, clip_norm=1.0,
    )  # fmt: skip
    register(
        "translation", recipe, summary="AdamW with warm-up and clipping, 30 epochs, the checkpoint of most right tokens"
    )
    quick = kdbench.Recipe(
        optimizer="adamw", lr=2e-3, weight_decay=1e-2, epochs=10, batch_size=32, warmup_epochs=1, clip_norm=1.0,
    )  # fmt: skip
    register("translation-quick", quick, summary="the translation recipe in 10 epochs of smaller batches")


@kdbench.hookimpl
def kdbench_register_combos(register):
    """The methods on both texts; a few on the short ones."""
    for dataset in ("help-en-zh-mt", "kjv-sparv"):
        for name, combo in kdbench.grid(
            methods=METHODS, recipes=["translation"], dataset=dataset, teacher="mt-xl", student="mt-m"
        ):
            register(name, combo, suites=["translation"])
    for dataset, suite in (("help-en-zh-mt-short", "translation-quick"), ("kjv-sparv-short", "translation-es-quick")):
        for name, combo in kdbench.grid(
            methods=QUICK_METHODS, recipes=["translation-quick"], dataset=dataset, teacher="mt-l", student="mt-s"
        ):
            register(name, combo, suites=[suite])
