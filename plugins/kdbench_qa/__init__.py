"""Question answering: trivia answers by rank, and answers that are spans of a text."""

import kdbench
from kdbench_qa.sources import TRIVIA
from kdbench_text.sources import MINILM

SQUAD_FIX = "put train-v1.1.json and dev-v1.1.json of SQuAD 1.1 into $KDBENCH_DATA/squad or ./data/squad"
READERS = {"reader-s": "width 32, 1 layer", "reader-l": "width 128, 3 layers"}
SPAN_METHODS = ("scratch", "kd", "word_kd", "skew_kl")
METHODS = ("scratch", "logit_mse", "rkd", "contrastive_crossmodal")
PARAMS = {"logit_mse": {"weight": 2000.0}}
"""Embeddings are of length 1, so that the mean squared error of 384 numbers is small beside the loss on labels. Of 300,
2000, and 500 without labels, the best on the validation split, at two seeds that are not of the leaderboard."""
PAIRS = (
    {"student": "bag-m", "student_view": "words"},
    {"student": "textcnn-s", "student_view": "words"},
)


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """Trivia, whole and of general knowledge; SQuAD's format by path."""
    for name, factory, title in (
        ("trivia", "trivia", "5,679 trivia questions of 16 lists, each to find its answer's MiniLM embedding"),
        ("trivia-general", "trivia_general", "3,031 questions of general knowledge, of 10 lists of trivia"),
    ):
        register(
            name,
            f"kdbench_qa.ranking:{factory}",
            task="retrieval",
            title=title,
            licence=TRIVIA.licence,
            modality="text",
            sources=(TRIVIA, MINILM),
            requires=("yaml", "transformers"),
            extra="qa",
            fix=f"kdbench data fetch {name}",
        )
    for name, factory, scheme, title, fix in (
        ("squad-1.1", "squad_files", False, "SQuAD 1.1", SQUAD_FIX),
        (
            "squad",
            "squad",
            True,
            "a file of SQuAD's form, or a directory of two; long texts in windows",
            "check the path",
        ),
    ):
        register(
            name,
            f"kdbench_qa.squad:{factory}",
            task="span-qa",
            scheme=scheme,
            title=title,
            modality="text",
            measures=("squad_em", "squad_f1"),
            fix=fix,
        )


@kdbench.hookimpl
def kdbench_register_teachers(register):
    """Readers that point at spans."""
    _register_models(register)


@kdbench.hookimpl
def kdbench_register_students(register):
    """The same readers."""
    _register_models(register)


def _register_models(register):
    for name, title in READERS.items():
        register(
            name,
            f"kdbench_qa.readers:{name.replace('-', '_')}",
            family="reader",
            title=f"transformer over question and text, {title}",
            source="Vaswani et al. (2017)",
        )


@kdbench.hookimpl
def kdbench_register_metrics(register):
    """SQuAD's own scores, of the texts that a model points at."""
    for name, title in (("squad_em", "exact match"), ("squad_f1", "F1 of words")):
        register(
            name,
            f"kdbench_qa.answers:{name}",
            of="model",
            info=True,
            index=True,
            shared=True,
            of_teacher=True,
            tasks=("span-qa",),
            title=title,
        )


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """How the rankers train."""
    recipe = kdbench.Recipe(optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=20, batch_size=128, clip_norm=5.0)
    register("ranking", recipe, summary="AdamW, cosine, 20 epochs of large batches, which contrast more")
    recipe = kdbench.Recipe(
        optimizer="adamw", lr=1e-3, weight_decay=1e-2, epochs=6, batch_size=64, warmup_epochs=1, clip_norm=1.0
    )
    register("spans", recipe, summary="AdamW with warm-up and clipping, 6 epochs")


@kdbench.hookimpl
def kdbench_register_combos(register):
    """Students that read words and n-grams learn where MiniLM puts a question."""
    for suite, dataset, pairs in (("qa", "trivia", PAIRS), ("qa-quick", "trivia-general", PAIRS[:1])):
        for pair in pairs:
            for name, combo in kdbench.grid(
                methods=METHODS, recipes=["ranking"], params=PARAMS, dataset=dataset, teacher="given-embedding",
                teacher_view="minilm", **pair,
            ):  # fmt: skip
                register(name, combo, suites=[suite])
    for name, combo in kdbench.grid(
        methods=SPAN_METHODS, recipes=["spans"], dataset="squad-1.1", teacher="reader-l", student="reader-s"
    ):
        register(name, combo, suites=["qa"])
