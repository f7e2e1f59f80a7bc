"""Sequences and language models: text, small transformers, and the methods that distil them."""

import kdbench

MODELS = {"lm-s": "width 32, 2 layers", "lm-m": "width 64, 2 layers", "lm-l": "width 128, 4 layers"}
METHODS = ("scratch", "label_smoothing", "word_kd", "reverse_kl", "skew_kl", "gkd", "distilbert", "tinybert", "minilm")


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """Text that is on every machine."""
    register(
        "python-topics",
        "kdbench_language.data:python_topics",
        task="language-modeling",
        title="Python's language reference, by characters",
        licence="PSF-2.0",
        modality="text",
        classes=97,
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
            f"kdbench_language.models:{name.replace('-', '_')}",
            family="language-model",
            title=f"causal transformer, {title}",
            source="Radford et al. (2019)",
        )


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """How the small language models train."""
    recipe = kdbench.Recipe(
        optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=10, batch_size=32, warmup_epochs=1, clip_norm=1.0,
        monitor="loss",
    )  # fmt: skip
    register("language", recipe, summary="AdamW with warm-up and clipping, 10 epochs, the checkpoint of least log-loss")


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the token-level and sequence-level methods."""
    for name, target, source, summary in (
        ("word_kd", "tokens:WordLevel", "Kim & Rush (2016)", "the teacher's distribution of every token"),
        ("reverse_kl", "tokens:ReverseKl", "Gu et al. (2024)", "MiniLLM's divergence, on the data's tokens"),
        ("skew_kl", "tokens:SkewKl", "Ko et al. (2024)", "DistiLLM's divergence from a mixture with the teacher"),
        (
            "gkd",
            "sequences:GeneralizedKd",
            "Agarwal et al. (2024)",
            "generalised JSD, in part on what the student writes",
        ),
        ("seq_kd", "sequences:SequenceLevel", "Kim & Rush (2016)", "the text that the teacher writes, by beam search"),
        ("distilbert", "transformers:DistilBert", "Sanh et al. (2019)", "soft labels, labels, last hidden states"),
        (
            "tinybert",
            "transformers:TinyBert",
            "Jiao et al. (2020)",
            "embeddings, hidden states, attention; then answers",
        ),
        ("minilm", "transformers:MiniLm", "Wang et al. (2020)", "the last layer's attention and value relations"),
    ):
        register(name, f"kdbench_language.{target}", family="language", source=source, summary=summary)


@kdbench.hookimpl
def kdbench_register_combos(register):
    """The methods on the small text."""
    for name, combo in kdbench.grid(
        methods=METHODS,
        recipes=["language"],
        dataset="python-topics",
        teacher="lm-l",
        student="lm-s",
    ):
        register(name, combo, suites=["language"])
