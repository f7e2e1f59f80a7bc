"""Classifiers in the Open Neural Network Exchange format, run by onnxruntime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import kdbench
from kdbench_estimators.answering import Answering, softmax
from kdbench_estimators.arguments import existing, output_is_logits, split

if TYPE_CHECKING:
    from numpy.typing import NDArray


def onnx_file(text: str, info: kdbench.DatasetInfo) -> Answering:
    """`FILE.onnx`, with `?output=logits` where it gives those, `?name=OUTPUT` where it has several of (N, classes).

    Its input is a batch of the dataset's view as kdbench preprocesses it, float32.

    Raises: ModelMismatch for a file that onnxruntime does not read, or without such an output.
    """
    return OnnxClassifier(f"onnx:{text}", text, info)


class OnnxClassifier(Answering):
    """One session with one thread. Its state is the file's bytes."""

    def __init__(self, name: str, text: str, info: kdbench.DatasetInfo) -> None:
        super().__init__(name, info.num_classes)
        path, settings = split(text, f"teacher {name!r}", ("output", "name"))
        self._logits, self._wanted = output_is_logits(settings, f"teacher {name!r}"), settings.get("name")
        self._open(existing(path, f"teacher {name!r}").read_bytes())

    def _open(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common type of their own
            raise kdbench.ModelMismatch(f"teacher {self.name!r} cannot be read", str(error)[:300]) from error
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1:
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} has {len(inputs)} inputs: {', '.join(each.name for each in inputs)}",
                fix="export it with one, a batch of items",
            )
        fitting = [each.name for each in outputs if each.type in _FLOATS and len(each.shape) == 2]
        chosen = fitting if self._wanted is None else [name for name in fitting if name == self._wanted]
        if len(chosen) != 1:
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} has {len(chosen)} outputs to choose from",
                f"outputs: {', '.join(f'{each.name} {each.type}{each.shape}' for each in outputs)}",
                "name one of two dimensions with ?name=OUTPUT (skl2onnx: options={'zipmap': False})",
            )
        self._model, self._session, self._input, self._output = model, session, inputs[0], chosen[0]

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[Any]:
        """The chosen output, through a softmax where it is logits."""
        try:
            (found,) = self._session.run([self._output], {self._input.name: inputs.astype(_FLOATS[self._input.type])})
        except Exception as error:
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} cannot take inputs {inputs.shape}", str(error)[:300]
            ) from error
        return softmax(found) if self._logits else found

    def get_extra_state(self) -> Tensor:
        """The file's bytes."""
        return torch.from_numpy(np.frombuffer(self._model, dtype=np.uint8).copy())

    def set_extra_state(self, state: Tensor) -> None:
        """The model of these bytes."""
        self._open(state.numpy().tobytes())

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxClassifier:
        return self  # nothing of it changes, and a session cannot be copied


_FLOATS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
