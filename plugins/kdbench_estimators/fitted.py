"""Estimators that kdbench fits: a few by name, any by its path."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench_estimators.arguments import split
from kdbench_estimators.classifier import FittedClassifier

SEED = 0
"""Of every random choice in fitting: the teacher of a pair is one, whatever the run's seed."""


def random_forest(info: kdbench.DatasetInfo) -> FittedClassifier:
    """A forest whose leaves hold two items or more.

    Leaves of one item would make its answers on the items that it was fitted on all but the labels themselves.
    """
    from sklearn.ensemble import RandomForestClassifier

    return _made("random-forest", RandomForestClassifier(200, min_samples_leaf=2, random_state=SEED), info)


def gradient_boosting(info: kdbench.DatasetInfo) -> FittedClassifier:
    """Boosted trees on histograms; above 10,000 items the library holds a tenth of them out, to stop early."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return _made("gradient-boosting", HistGradientBoostingClassifier(random_state=SEED), info)


def logistic(info: kdbench.DatasetInfo) -> FittedClassifier:
    """Multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return _made("logistic", LogisticRegression(max_iter=2000, random_state=SEED), info)


def nearest_neighbours(info: kdbench.DatasetInfo) -> FittedClassifier:
    """Equal votes of 15 neighbours: by distance, each item of the train split would answer with its own label."""
    from sklearn.neighbors import KNeighborsClassifier

    return _made("knn", KNeighborsClassifier(15), info)


def tfidf_logistic(info: kdbench.DatasetInfo) -> FittedClassifier:
    """Logistic regression on TF-IDF of token indices (L,), 0 for padding, however they are ordered in an item."""
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len(info.input_shape) != 1:
        raise kdbench.ModelMismatch(
            f"teacher 'tfidf-logistic' needs token indices (L,), {info.name!r} has inputs {info.input_shape}"
        )
    steps = (
        VarianceThreshold(),  # tokens that no train item has would have no weight, and cost as much as the others
        TfidfTransformer(sublinear_tf=True),
        LogisticRegression(C=10, max_iter=500, random_state=SEED),
    )
    return _made("tfidf-logistic", make_pipeline(*steps), info, _OfTokens)


def by_path(text: str, info: kdbench.DatasetInfo) -> FittedClassifier:
    """`ensemble.ExtraTreesClassifier?n_estimators=50`: of scikit-learn, or with its package, of any other library.

    Its `random_state` is fixed where it has one that the settings leave open.

    Raises: InvalidParameter for an unknown class or setting; ModelMismatch for one without predict_proba.
    """
    name = f"sklearn:{text}"
    path, settings = split(text, f"teacher {name!r}")
    estimator = _constructed(name, _class(name, path), settings)
    if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "get_params"):
        raise kdbench.ModelMismatch(
            f"teacher {name!r} gives no probabilities",
            f"{type(estimator).__name__} has no predict_proba as it is set",
            "wrap it: sklearn.calibration.CalibratedClassifierCV; or set probability=True where it has that",
        )
    if "random_state" in estimator.get_params() and "random_state" not in settings:
        estimator.set_params(random_state=SEED)
    return _made(name, estimator, info)


def _made(
    name: str, estimator: Any, info: kdbench.DatasetInfo, make: type[FittedClassifier] = FittedClassifier
) -> FittedClassifier:
    if info.task not in {"binary", "multiclass"}:
        raise kdbench.ModelMismatch(
            f"teacher {name!r} cannot serve dataset {info.name!r}",
            f"its task is {info.task!r}; estimators answer with one probability of each class",
        )
    return make(name, estimator, info)


class _OfTokens(FittedClassifier):
    """Gives the estimator how often each token is in an item."""

    def rows(self, inputs: NDArray[np.float32]) -> Any:
        """Counts (N, tokens), sparse; tokens above those of the train split are left out, and padding.

        Raises: ModelMismatch for what are no token indices.
        """
        from scipy.sparse import csr_matrix

        if inputs.min(initial=0) < 0 or not np.array_equal(inputs, np.floor(inputs)):
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} needs token indices",
                "inputs are negative or no whole numbers: measurements, or standardised",
                "a dataset of text whose preprocess is 'none'",
            )
        width = getattr(self.estimator[0], "n_features_in_", None) or int(inputs.max(initial=0)) + 1
        counted = (inputs > 0) & (inputs < width)
        items, columns = np.nonzero(counted)[0], inputs[counted].astype(np.int64)
        return csr_matrix((np.ones(len(items)), (items, columns)), shape=(len(inputs), width))


def _class(name: str, path: str) -> Any:
    module, _, attribute = path.rpartition(".")
    top = module.partition(".")[0]
    package = f"sklearn.{module}" if module and top != "sklearn" and find_spec(f"sklearn.{top}") else module
    try:
        return getattr(import_module(package), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise kdbench.InvalidParameter(
            f"teacher {name!r}: there is no class {path!r}",
            str(error),
            "sklearn:ensemble.ExtraTreesClassifier, say; for another library sklearn:PACKAGE.CLASS",
        ) from error


def _constructed(name: str, cls: Any, settings: dict[str, Any]) -> Any:
    try:
        return cls(**settings)
    except TypeError as error:
        raise kdbench.InvalidParameter(f"teacher {name!r} cannot be made", str(error)) from error
