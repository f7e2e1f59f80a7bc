"""Medicine: tables of measurements, MedMNIST's pictures, and the measures of a diagnosis."""

from __future__ import annotations

from collections.abc import Callable

import kdbench
from kdbench import Recipe
from kdbench_medical.sets import SETS, fetch_command
from kdbench_tabular import MLBENCH

DIAGNOSES = ("wdbc", "pima", "pneumoniamnist", "breastmnist", "chestmnist")
"""Where a finding is there or not: measured by sensitivity, specificity and the AUC's interval."""

TABLES = ("wdbc", "pima")
METHODS = ("scratch", "label_smoothing", "kd", "logit_mse", "dkd")
LABEL_METHODS = ("scratch", "label_smoothing", "binary_kd", "logit_mse")
QUICK = frozenset({"scratch", "label_smoothing", "kd", "logit_mse"})


@kdbench.hookimpl
def kdbench_register_datasets(register: Callable[..., None]) -> None:
    """Two tables and MedMNIST's twelve sets of pictures."""
    register(
        "wdbc",
        "kdbench_medical.tables:wdbc",
        task="binary",
        title="Breast tumours from 30 features, malignant as the positive class (UCI)",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        modality="tabular",
        items=569,
        classes=2,
    )
    register(
        "pima",
        "kdbench_medical.tables:pima",
        task="binary",
        title="Diabetes within five years from 8 measurements (UCI, by mlbench)",
        licence=MLBENCH.licence,
        modality="tabular",
        items=768,
        classes=2,
        sources=(MLBENCH,),
        fix="kdbench data fetch pima",
        requires=("rdata",),
        extra="medical",
    )
    for name, chosen in SETS.items():
        register(
            name,
            f"kdbench_medical.medmnist:{name}",
            task=chosen.task,
            title=f"MedMNIST: {chosen.what}, 28x28",
            licence=chosen.licence,
            modality="image",
            items=sum(chosen.counts),
            classes=len(chosen.classes),
            fix=fetch_command(name),
        )


@kdbench.hookimpl
def kdbench_register_recipes(register: Callable[..., None]) -> None:
    """How tables and pictures are learnt."""
    register(
        "medical-table",
        Recipe(optimizer="adamw", lr=3e-3, weight_decay=5e-2, epochs=40, batch_size=32, monitor="loss"),
        summary="AdamW, cosine, for a few hundred rows; the epoch of the least validation loss",
    )
    register(
        "medmnist",
        Recipe(epochs=30, batch_size=64, lr=0.05, schedule="onecycle", clip_norm=5.0),
        summary="SGD, one cycle, 30 epochs of 28x28 images; no flips: sides mean something",
    )


@kdbench.hookimpl
def kdbench_register_metrics(register: Callable[..., None]) -> None:
    """Of findings on the diagnoses above, elsewhere with `--measure NAME`; of grades on RetinaMNIST."""
    shared = {"tasks": ("binary", "multilabel"), "datasets": DIAGNOSES}
    for name in ("sensitivity", "specificity", "roc_auc_low", "roc_auc_high"):
        register(name, f"kdbench_medical.metrics:{name}", **shared)
    for name in (
        "sensitivity_at_specificity",
        "achieved_specificity",
        "specificity_at_sensitivity",
        "achieved_sensitivity",
    ):
        register(name, f"kdbench_medical.metrics:{name}", scheme=True, chosen_on="validation", **shared)
    register(
        "quadratic_kappa",
        "kdbench_medical.metrics:quadratic_kappa",
        tasks=("binary", "multiclass"),
        datasets=("retinamnist",),
    )


@kdbench.hookimpl
def kdbench_register_combos(register: Callable[..., None]) -> None:
    """Tables in both suites; pictures, where they are on the machine, in the full one."""
    for dataset in TABLES:
        pair = {"dataset": dataset, "teacher": "mlp-l", "student": "mlp-s"}
        for name, combo in kdbench.grid(methods=METHODS, recipes=["medical-table"], **pair):
            register(name, combo, suites=["medical", *(["medical-quick"] if combo.method in QUICK else [])])
    for dataset, chosen in SETS.items():
        pair = {"dataset": dataset, "teacher": "resnet20", "student": "cnn-s"}
        methods = LABEL_METHODS if chosen.task == "multilabel" else METHODS
        for name, combo in kdbench.grid(methods=methods, recipes=["medmnist"], **pair):
            register(name, combo, suites=["medical"])
