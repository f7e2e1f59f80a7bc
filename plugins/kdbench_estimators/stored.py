"""Estimators that were fitted elsewhere, in skops's format."""

from __future__ import annotations

import kdbench
from kdbench_estimators.arguments import existing, split
from kdbench_estimators.classifier import Classifier
from kdbench_estimators.keeping import from_bytes


def skops_file(text: str, info: kdbench.DatasetInfo) -> Classifier:
    """`FILE.skops`, or `FILE.skops?trust=TYPE,TYPE` for types that skops does not vouch for, forests' trees among them.

    It was fitted on inputs as kdbench gives them (a dataset's view after its preprocessing) and on class indices.

    Raises: ModelMismatch for a pickle, a damaged file, types that are not trusted, or other classes.
    """
    name = f"skops:{text}"
    path, settings = split(text, f"teacher {name!r}", ("trust",))
    trusted = str(settings.get("trust", "")).split(",")
    estimator = from_bytes(existing(path, f"teacher {name!r}").read_bytes(), repr(path), trusted.__contains__)
    if not hasattr(estimator, "predict_proba"):
        raise kdbench.ModelMismatch(f"teacher {name!r} gives no probabilities", "it has no predict_proba")
    return Classifier(name, estimator, info.num_classes).accept()
