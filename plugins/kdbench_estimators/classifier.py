"""A classifier with scikit-learn's interface as a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import kdbench
from kdbench_estimators.answering import Answering
from kdbench_estimators.keeping import from_bytes, to_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Classifier(Answering):
    """A classifier of class indices; items (N, ...) reach it as rows (N, D). Its state dict is skops's format, uint8.

    A class that it was not shown has probability 0. Before it is fitted every class is equally probable.
    """

    def __init__(self, name: str, estimator: Any, classes: int) -> None:
        super().__init__(name, classes)
        self.estimator, self._ready, self._kept = estimator, False, b""

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[Any]:
        """Of each class, by `predict_proba`."""
        if not self._ready:
            return np.full((len(inputs), self.classes), 1 / self.classes)
        try:
            found = np.asarray(self.estimator.predict_proba(self.rows(inputs)))
        except ValueError as error:
            raise kdbench.ModelMismatch(f"teacher {self.name!r} cannot take the inputs", str(error)) from error
        seen = np.asarray(self.estimator.classes_)
        if len(seen) == self.classes and found.shape[1:] == seen.shape:
            return found
        answers = np.zeros((len(inputs), self.classes))
        answers[:, seen.astype(np.int64)] = found
        return answers

    def rows(self, inputs: NDArray[np.float32]) -> Any:
        """What the estimator is given of inputs (N, ...): (N, D)."""
        return inputs.reshape(len(inputs), -1)

    def accept(self) -> Classifier:
        """Take the estimator as fitted. Raises: ModelMismatch where its classes are not indices of the dataset's."""
        seen = np.asarray(getattr(self.estimator, "classes_", ()))
        if seen.dtype.kind not in "iu" or not len(seen) or seen.min() < 0 or seen.max() >= self.classes:
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} does not fit the dataset's {self.classes} classes",
                f"its own: {', '.join(map(repr, seen.tolist()[:8])) or 'none, it is not fitted'}",
                "fit it on the indices of the dataset's classes, 0, 1, ...",
            )
        self._ready, self._kept = True, b""
        return self

    def get_extra_state(self) -> Tensor:
        """Bytes of the fitted estimator; none before."""
        if self._ready and not self._kept:
            self._kept = to_bytes(self.estimator)
        return torch.from_numpy(np.frombuffer(self._kept, dtype=np.uint8).copy())

    def set_extra_state(self, state: Tensor) -> None:
        """The estimator of these bytes. Types of its own library, and of scikit-learn, are trusted."""
        if not len(state):
            return
        own = {"sklearn", type(self.estimator).__module__.partition(".")[0]}
        kept = state.numpy().tobytes()
        self.estimator = from_bytes(kept, f"kept teacher {self.name!r}", lambda name: name.partition(".")[0] in own)
        self.accept()
        self._kept = kept


class FittedClassifier(Classifier):
    """One that kdbench fits, on the train split as the teacher's view has it."""

    def __init__(self, name: str, estimator: Any, info: kdbench.DatasetInfo) -> None:
        super().__init__(name, estimator, info.num_classes)
        self.definition = definition(estimator)

    def fit(self, inputs: Tensor, labels: Tensor) -> None:
        """Fit the estimator on inputs (N, ...) and class indices (N,)."""
        rows = self.rows(inputs.detach().cpu().numpy())
        try:
            self.estimator.fit(rows, labels.cpu().numpy())
        except Exception as error:  # the estimator's library is not ours: its error is attributed and typed
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} cannot be fitted", f"{type(error).__name__}: {error}"
            ) from error
        self.accept()


def definition(estimator: Any) -> list[str]:
    """What decides how an estimator comes out beside its data: class, parameters, versions of its libraries."""
    from importlib.metadata import PackageNotFoundError, version

    libraries = []
    for name in {"scikit-learn", type(estimator).__module__.partition(".")[0]} - {"sklearn"}:
        try:
            libraries.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # a module of the user's own
            libraries.append(name)
    parameters = sorted(estimator.get_params().items())
    return [type(estimator).__module__, type(estimator).__qualname__, repr(parameters), *sorted(libraries)]
