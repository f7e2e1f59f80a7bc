"""Tabular tasks: forests and boosted trees teach networks and linear models; two streams that drift."""

import kdbench

MLBENCH = kdbench.Source(
    "apt",
    "r-cran-mlbench",
    "2.1-3-1",
    sha256="2f1127f7b5e7d08703b13b52ef1976a0c355a7660d6ac575e29b87b13921bc06",
    files=("usr/lib/R/site-library/mlbench/data/*.rda",),
    size=1049188,
    licence="GPL-2 (the package); the tables are the UCI repository's, CC BY 4.0",
)
TABLES = {
    "letter-recognition": ("letter_recognition", "Printed capital letters in 16 measurements (UCI)", 20000, 26),
    "satellite": ("satellite", "Ground cover from 36 values of a satellite's pictures (UCI Statlog)", 6435, 6),
    "vehicle": ("vehicle", "Vehicles from 18 measurements of their silhouettes (UCI Statlog)", 846, 4),
}
STREAMS = {
    "digits-drift": ("digits_drift", "Handwritten digits, 8x8, ever more turned: a made drift", 1797, 10, None),
    "letter-drift": ("letter_drift", "Printed letters whose measurements shift: a made drift", 20000, 26, MLBENCH),
}
TEACHERS = ("random-forest", "gradient-boosting")
METHODS = ("scratch", "label_smoothing", "kd", "dkd", "logit_mse", "lskd")
QUICK = ("scratch", "label_smoothing", "kd")
BASE = ("scratch", "kd")
DYNAMIC = ("scratch", "kd", "online_teacher")


@kdbench.hookimpl
def kdbench_register_datasets(register):
    """Tables of mlbench, and streams made of real items."""
    common = {"task": "multiclass", "modality": "tabular"}
    for name, (attribute, title, items, classes) in TABLES.items():
        register(
            name,
            f"kdbench_tabular.tables:{attribute}",
            title=title,
            items=items,
            classes=classes,
            licence=MLBENCH.licence,
            **_fetched(name, MLBENCH),
            **common,
        )
    for name, (attribute, title, items, classes, source) in STREAMS.items():
        register(
            name,
            f"kdbench_tabular.streams:{attribute}",
            title=title,
            items=items,
            classes=classes,
            licence=source.licence if source else "CC BY 4.0 (UCI Machine Learning Repository)",
            **(_fetched(name, source) if source else {}),
            **(common if source else common | {"modality": "image"}),
        )


def _fetched(name, source):
    return {
        "sources": (source,),
        "fix": f"kdbench data fetch {name}",
        "requires": ("rdata",),
        "extra": "tabular",
    }


@kdbench.hookimpl
def kdbench_register_metrics(register):
    """What a stream is measured by."""
    register(
        "prequential_accuracy",
        "kdbench_tabular.prequential:PrequentialAccuracy",
        of="model",
        scheme=True,
        tasks=("binary", "multiclass"),
        title="accuracy of answers given before each label is learnt from",
    )


@kdbench.hookimpl
def kdbench_register_recipes(register):
    """For thousands of rows."""
    recipe = kdbench.Recipe(optimizer="adamw", lr=5e-3, weight_decay=1e-2, epochs=60, batch_size=128)
    register("tables", recipe, summary="AdamW, cosine, 60 epochs, for thousands of rows")
    quick = kdbench.Recipe(optimizer="adamw", lr=5e-3, weight_decay=1e-2, epochs=20, batch_size=128)
    register("tables-quick", quick, summary="tables in 20 epochs")
    stream = kdbench.Recipe(optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=20, select="last")
    register("stream", stream, summary="AdamW, cosine, 20 epochs, scored at the last, for what drifts after validation")


@kdbench.hookimpl
def kdbench_register_combos(register):
    """Estimators teach small networks; on the streams, networks that are fixed or go on learning."""
    for dataset in ("wine", "breast-cancer"):
        _register_grid(register, BASE, "tabular", ["tabular", "tabular-quick"], dataset, "random-forest", "mlp-s")
    for dataset in TABLES:
        for teacher in TEACHERS:
            for student in ("mlp-s", "linear"):
                _register_grid(register, METHODS, "tables", ["tabular"], dataset, teacher, student)
        quick = {"recipe": "tables-quick", "suites": ["tabular-quick"], "named": "@tables-quick"}
        _register_grid(register, QUICK, dataset=dataset, teacher="random-forest", student="mlp-s", **quick)
    _register_grid(register, DYNAMIC, "stream", ["stream"], "digits-drift", "mlp-l", "mlp-s")
    _register_grid(register, DYNAMIC, "tables-quick", ["stream"], "letter-drift", "mlp-l", "mlp-s")


def _register_grid(register, methods, recipe, suites, dataset, teacher, student, named=""):
    """The methods; on tables kd at temperature 1 too, which takes probabilities as they are."""
    pair = {"dataset": dataset, "teacher": teacher, "student": student, "recipes": [recipe]}
    for name, combo in kdbench.grid(methods=methods, **pair):
        register(name + named, combo, suites=suites)
    if dataset in TABLES:
        for name, combo in kdbench.grid(methods=["kd"], params={"kd": {"temperature": 1.0}}, **pair):
            register(f"{name}-t1{named}", combo, suites=suites)
