"""Pairs of modalities: emoji as pictures and as text, digits in six views, an image and a text that find each other."""

import kdbench
from kdbench_modalities.sources import EMOJI

_NEEDS = ("resvg_py", "efficientnet_lite_pytorch")
_LICENCE = "MIT, Apache-2.0, CC BY 4.0, CC BY-SA 4.0"


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """Emoji, drawn by four artists."""
    from kdbench_text.sources import MINILM

    for name, attribute, task, title, extra in (
        ("emoji", "emoji", "multiclass", "1586 emoji by four artists, named in English and Chinese: 8 groups", {}),
        ("emoji-subgroups", "emoji_subgroups", "multiclass", "The same in finer classes", {}),
        (
            "emoji-retrieval",
            "emoji_retrieval",
            "retrieval",
            "A drawing of an emoji finds the MiniLM embedding of its English label",
            {"sources": (*EMOJI, MINILM), "requires": (*_NEEDS, "transformers")},
        ),
    ):
        register(
            name,
            f"kdbench_modalities.data:{attribute}",
            **{
                "task": task,
                "title": title,
                "licence": _LICENCE,
                "modality": "image and text",
                "sources": EMOJI,
                "requires": _NEEDS,
                "extra": "cross-modal",
                "fix": f"kdbench data fetch {name}",
            }
            | extra,
        )


@kdbench.hookimpl
def kdbench_register_students(register):
    """Networks for small pictures."""
    for name, params in (("patches-s", "0.05M"), ("patches-m", "0.37M")):
        register(
            name,
            f"kdbench_modalities.models:{name.replace('-', '_')}",
            family="patches",
            source="after Dosovitskiy et al. (2021)",
            inputs="image",
            params=params,
        )


FEW = 0.05
"""The share of the train items whose labels the few-label twins read."""
RECIPES = {
    "cross-modal": (
        kdbench.Recipe(optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=40, batch_size=128, clip_norm=5.0),
        "AdamW, cosine, 40 epochs: emoji as pictures or bags of words",
    ),
    "cross-modal-quick": (
        kdbench.Recipe(optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=15, batch_size=128, clip_norm=5.0),
        "the recipe cross-modal in 15 epochs",
    ),
    "multi-view": (
        kdbench.Recipe(optimizer="adamw", lr=1e-2, weight_decay=1e-2, epochs=20, batch_size=128, clip_norm=5.0),
        "AdamW, cosine, 20 epochs: a thousand rows of features",
    ),
}
VARIANTS = {
    "scratch-few": ("cross_soft", {"weight": 0, "labelled": FEW}),
    "cross_soft-few": ("cross_soft", {"labelled": FEW}),
}
"""Combos that are a method with parameters: plain training on few labels, and with the teacher's answers beside."""
ALL = ("scratch", "kd", "logit_mse", "gupta", "contrastive_crossmodal", "cross_soft", *VARIANTS)
FEWER = ("scratch", "kd", "cross_soft", *VARIANTS)
EMBEDDINGS = ("scratch", "logit_mse", "contrastive_crossmodal")

TEXT_TO_IMAGE = {"teacher": "mlp-l", "teacher_view": "text", "student_view": "image"}
IMAGE_TO_TEXT = {"teacher": "mlp-l", "teacher_view": "image-features", "student": "mlp-s", "student_view": "text"}
FEATURES_TO_IMAGE = {"teacher": "mlp-l", "teacher_view": "image-features", "student_view": "image"}
ENGLISH_TO_CHINESE = {"teacher": "mlp-l", "teacher_view": "text", "student": "mlp-s", "student_view": "text-zh"}

FULL = (
    ({"dataset": "emoji", **TEXT_TO_IMAGE, "student": "patches-m"}, ALL),
    ({"dataset": "emoji", **IMAGE_TO_TEXT}, ALL),
    (
        {"dataset": "emoji", **FEATURES_TO_IMAGE, "student": "patches-m"},
        ("scratch", "kd", "contrastive_crossmodal", *VARIANTS),
    ),
    ({"dataset": "emoji", **ENGLISH_TO_CHINESE}, ("scratch", "kd", "multilingual", "cross_soft", *VARIANTS)),
    (
        {"dataset": "emoji-subgroups", **TEXT_TO_IMAGE, "student": "patches-m"},
        ("scratch", "kd", "contrastive_crossmodal", *VARIANTS),
    ),
    ({"dataset": "emoji-retrieval", **FEATURES_TO_IMAGE, "student": "patches-m"}, (*EMBEDDINGS, "gupta")),
)
QUICK = (
    ({"dataset": "emoji", **TEXT_TO_IMAGE, "student": "patches-s"}, (*FEWER, "contrastive_crossmodal")),
    ({"dataset": "emoji", **IMAGE_TO_TEXT}, FEWER),
    ({"dataset": "emoji-retrieval", **FEATURES_TO_IMAGE, "student": "patches-s"}, EMBEDDINGS),
)
VIEWS = (  # of the data that every installation has: `kdbench run --all` trains these too
    ("fac", "zer", ("scratch", "kd", "gupta", "contrastive_crossmodal", *VARIANTS)),
    ("pix", "fou", ("scratch", "kd", *VARIANTS)),
    ("fac", "mor", tuple(VARIANTS)),
)
MORE_VIEWS = (
    ("kar", "zer", ALL),
    ("fac", "mor", ("scratch", "kd", "gupta", "contrastive_crossmodal", "cross_soft")),
    ("fou", "pix", ("scratch", "kd", *VARIANTS)),
)


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """How the combos below train; the teachers alike."""
    for name, (recipe, summary) in RECIPES.items():
        register(name, recipe, summary=summary)


@kdbench.hookimpl
def kdbench_register_combos(register):
    """Suite cross-modal, and cross-modal-quick: fewer methods in fewer epochs."""
    for pair, methods in FULL:
        _register_pair(register, {**pair, "recipe": "cross-modal"}, methods, suites=["cross-modal"])
    for pair, methods in QUICK:
        _register_pair(
            register, {**pair, "recipe": "cross-modal-quick"}, methods, suites=["cross-modal-quick"], on_request=True
        )
    for views, metadata in (
        (VIEWS, {"suites": ["cross-modal", "cross-modal-quick"]}),
        (MORE_VIEWS, {"suites": ["cross-modal"], "on_request": True}),
    ):
        for teacher, student, methods in views:
            pair = {"dataset": "mfeat", "teacher": "mlp-l", "student": "mlp-s", "recipe": "multi-view"}
            _register_pair(register, pair | {"teacher_view": teacher, "student_view": student}, methods, **metadata)


def _register_pair(register, pair, methods, **metadata):
    ending = "" if pair["recipe"] == "cross-modal" else f"@{pair['recipe']}"
    for name in methods:
        method, params = VARIANTS.get(name, (name, {}))
        combo = kdbench.Combo(method=method, params=params, **pair)
        register(f"{combo.dataset}/{combo.pair}/{name}{ending}", combo, **metadata)
