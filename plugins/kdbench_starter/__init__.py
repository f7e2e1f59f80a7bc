"""Recipes, combos and suites for tables, several views and faces, a smoke test, and compression."""

import kdbench
from kdbench import Recipe

COMPRESSION = ("prune_magnitude", "low_rank", "quant_static", "prune_then_distil")
"""Of a small network, for they train what is as large as the teacher."""
QUANTISED = ("quant_static", "distil_then_quantise")
METHODS = ("scratch", "label_smoothing", "kd", "logit_mse", "fitnet")

RECIPES = {
    # Without the clip, methods of large weights (mlkd, kd_tuned at 9) break students without batch norm at this rate.
    "standard": (Recipe(clip_norm=5.0), "SGD with momentum, cosine, 60 epochs"),
    "standard-adam": (
        Recipe(optimizer="adam", lr=3e-3, weight_decay=0),
        "the standard recipe with Adam",
    ),
    "standard-adamw": (
        Recipe(optimizer="adamw", lr=3e-3, weight_decay=1e-2),
        "the standard recipe with AdamW",
    ),
    "tabular": (
        Recipe(optimizer="adamw", lr=1e-2, weight_decay=1e-2, epochs=60, batch_size=32),
        "AdamW, cosine, for a few hundred rows",
    ),
    "faces": (
        Recipe(epochs=60, batch_size=16, lr=0.02, warmup_epochs=2, clip_norm=5.0),
        "SGD in small batches with warm-up, for a few items of each class",
    ),
}

CNN_PAIR = {"dataset": "digits", "teacher": "cnn-l", "student": "cnn-s"}
TABULAR_PAIRS = (
    {"dataset": "wine", "teacher": "mlp-l", "student": "mlp-s", "recipe": "tabular"},
    {"dataset": "breast-cancer", "teacher": "mlp-l", "student": "mlp-s", "recipe": "tabular"},
)
VIEW_PAIRS = (
    {
        "dataset": "mfeat",
        "teacher": "mlp-l",
        "student": "mlp-s",
        "recipe": "standard",
        "teacher_view": "fac",
        "student_view": "mor",
    },
)
SMALL_PAIR = {"dataset": "digits", "teacher": "mlp-l", "student": "mlp-s"}


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """How the combos below train; other plugins may use them too."""
    for name, (recipe, summary) in RECIPES.items():
        register(name, recipe, summary=summary)


@kdbench.hookimpl
def kdbench_register_combos(register):
    """`METHODS` on every pair; classical compression on digits; a comparison of optimisers; a smoke test."""
    for suite, pairs in (("tabular", TABULAR_PAIRS), ("multi-view", VIEW_PAIRS)):
        for pair in pairs:
            _register_grid(register, pair, methods=METHODS, suites=[suite])
    _register_grid(
        register,
        {**SMALL_PAIR, "recipe": "standard"},
        methods=METHODS,
        suites=["images", "smoke"],
    )
    for pair, methods in (
        ({**SMALL_PAIR, "recipe": "standard"}, COMPRESSION),
        ({**CNN_PAIR, "recipe": "standard"}, QUANTISED),
    ):
        _register_grid(register, pair, methods=methods, suites=["images", "compression"])
    for recipe in ("standard-adam", "standard-adamw"):
        for name, combo in kdbench.grid(
            methods=("scratch", "kd"), recipes=[recipe], teacher_recipe="standard", **SMALL_PAIR
        ):
            register(f"{name}@{recipe}", combo, suites=["optimizers"])


def _register_grid(register, pair, *, methods, suites):
    pair = dict(pair)
    for name, combo in kdbench.grid(methods=methods, recipes=[pair.pop("recipe")], **pair):
        register(name, combo, suites=suites)
