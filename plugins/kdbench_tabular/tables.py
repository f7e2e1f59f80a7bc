"""Tables of UCI as mlbench has them."""

from __future__ import annotations

import numpy as np

import kdbench
from kdbench_tabular import MLBENCH
from kdbench_tabular.mlbench import features_and_labels, read_table

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
COVERS = ("red soil", "cotton crop", "grey soil", "damp grey soil", "vegetation stubble", "very damp grey soil")
VEHICLES = ("bus", "opel", "saab", "van")
OFFICIAL_TRAIN = 16_000


def letter_recognition() -> kdbench.Data:
    """Capital letters in 20 fonts, distorted, in 16 whole numbers, (20000, 16); Frey and Slate (1991).

    Split as in the paper: it learns from the first 16,000 and is tested on the last 4,000. That the same letter of the
    same font is in both, differently distorted, is how the task was made; fonts are not told.
    """
    inputs, labels, classes = _table("LetterRecognition", "lettr", LETTERS)
    split = np.where(np.arange(len(labels)) < OFFICIAL_TRAIN, "train", "test")
    return kdbench.Data(inputs, labels, classes, split=split, source="UCI Letter Recognition, as in mlbench 2.1-3")


def satellite() -> kdbench.Data:
    """What covers the ground, from four bands of 3x3 pixels, (6435, 36); Srinivasan, Statlog (1993).

    Items are neighbourhoods of one picture in random order, so that some share pixels with others across splits; where
    they were is not told, so they cannot be kept apart: the figures say nothing about another picture.
    """
    return kdbench.Data(
        *_table("Satellite", "classes", COVERS), source="UCI Statlog (Landsat Satellite), mlbench 2.1-3"
    )


def vehicle() -> kdbench.Data:
    """Which of four vehicles, from 18 measurements of its silhouette, (846, 18); Siebert (1987)."""
    return kdbench.Data(
        *_table("Vehicle", "Class", VEHICLES), source="UCI Statlog (Vehicle Silhouettes), as in mlbench 2.1-3"
    )


def _table(name: str, label: str, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    table = read_table(kdbench.source_path(MLBENCH), name)
    return features_and_labels(table, label, name, classes)
