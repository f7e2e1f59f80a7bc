"""Keras 3 classifiers on its torch back end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import kdbench
from kdbench_estimators.answering import Answering, softmax
from kdbench_estimators.arguments import existing, output_is_logits, split

if TYPE_CHECKING:
    from numpy.typing import NDArray


def keras_file(text: str, info: kdbench.DatasetInfo) -> Answering:
    """`FILE.keras`, with `?output=logits` where its last layer has no softmax. Code in the file is refused.

    Its input is a batch of the dataset's view as kdbench preprocesses it; images are given with channels last, which is
    Keras's order, where it expects that.

    Raises: ModelMismatch for a file that Keras does not read; PluginError where Keras runs on another back end.
    """
    name = f"keras:{text}"
    path, settings = split(text, f"teacher {name!r}", ("output",))
    file = existing(path, f"teacher {name!r}")
    keras = _keras(name)
    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types
        why = f"{type(error).__name__}: {str(error)[:300]}"
        raise kdbench.ModelMismatch(
            f"teacher {name!r} cannot be read", why, "Keras 3: model.save('FILE.keras')"
        ) from error
    return KerasClassifier(name, model, output_is_logits(settings, f"teacher {name!r}"), info)


class KerasClassifier(Answering):
    """A Keras model in inference mode; it only answers, as its layers are not named as features."""

    def __init__(self, name: str, model: Any, logits: bool, info: kdbench.DatasetInfo) -> None:
        super().__init__(name, info.num_classes)
        self.model, self._logits = model, logits
        shape = info.input_shape
        last = (*shape[1:], shape[0])
        expected = tuple(model.input_shape[1:]) if isinstance(model.input_shape, tuple) else ()
        self._to_last = len(shape) == 3 and expected != shape and _agrees(expected, last)

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[Any]:
        """The model's output, through a softmax where it is logits."""
        batch = torch.from_numpy(np.ascontiguousarray(inputs.transpose(0, 2, 3, 1)) if self._to_last else inputs)
        try:
            with torch.no_grad():
                found = self.model(batch, training=False).detach().cpu().numpy()
        except (ValueError, TypeError, RuntimeError) as error:
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} cannot take inputs {inputs.shape}", str(error)[:300]
            ) from error
        return softmax(found) if self._logits else found


def _agrees(expected: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(expected) == len(shape) and all(one in {None, other} for one, other in zip(expected, shape, strict=True))


def _keras(name: str) -> Any:
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    import keras

    if keras.backend.backend() != "torch":
        raise kdbench.ModelMismatch(
            f"teacher {name!r} needs Keras on its torch back end",
            f"Keras was imported on {keras.backend.backend()!r} before",
            "KERAS_BACKEND=torch in the environment",
        )
    return keras
