"""Driving: traffic signs in the German benchmark's files (GTSRB)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import kdbench

ARCHIVE = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
PARTS = ("Final_Training_Images", "Final_Test_Images", "Final_Test_GT")


def fetch_command(parts: Sequence[str] = PARTS, directory: str = "data/gtsrb") -> str:
    """What gets the benchmark's archives, GTSRB_PART.zip; it stops at one that fails."""
    return (
        f"for part in {' '.join(parts)}; do curl -fLO {ARCHIVE}/GTSRB_$part.zip "
        f"&& unzip -q GTSRB_$part.zip -d {shlex.quote(directory)} || break; done"
    )


FIX = fetch_command()
LICENCE = "free for research with citation (Stallkamp et al., 2012); read the benchmark's own terms"
METHODS = ("scratch", "label_smoothing", "kd", "logit_mse", "dkd", "fitnet")
PAIR = {"dataset": "gtsrb", "teacher": "resnet20", "student": "resnet8"}


@kdbench.hookimpl
def kdbench_register_datasets(register: Callable[..., None]) -> None:
    """`gtsrb`, looked for in $KDBENCH_DATA/gtsrb and ./data/gtsrb; `gtsrb:DIR` for files in the same format."""
    register(
        "gtsrb",
        "kdbench_driving.signs:gtsrb",
        scheme=True,
        task="multiclass",
        title="German traffic signs, cut out by their boxes, 32x32 in colour; gtsrb:DIR for your own",
        licence=LICENCE,
        modality="image",
        items=51839,
        classes=43,
        fix=FIX,
    )


@kdbench.hookimpl
def kdbench_register_recipes(register: Callable[..., None]) -> None:
    """How the signs are learnt."""
    register(
        "signs",
        kdbench.Recipe(epochs=30, batch_size=128, lr=0.05, schedule="onecycle", augment=("crop",), clip_norm=5.0),
        summary="SGD, one cycle, 30 epochs of 32x32 images with crops; no flips: arrows have a side",
    )


@kdbench.hookimpl
def kdbench_register_combos(register: Callable[..., None]) -> None:
    """A residual network of 20 layers into one of 8."""
    for name, combo in kdbench.grid(methods=METHODS, recipes=["signs"], **PAIR):
        register(name, combo, suites=["driving"])
