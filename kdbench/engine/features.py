"""Named features of any model, read by forward hooks without changing its code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from kdbench.errors import ModelMismatch
from kdbench.names import did_you_mean

ALIASES = ("first", "middle", "last")


def feature_layers(model: nn.Module) -> dict[str, str]:
    """Feature name -> module path of a model, in depth order; a path ending in `:input` means the module's input.

    A model names its own in `feature_layers`; any other gives its direct children by name, and `penultimate`, the
    input of its last linear layer.
    """
    declared = getattr(model, "feature_layers", None)
    if declared is not None:
        return dict(declared)
    layers = {name: name for name, child in model.named_children() if any(True for _ in child.parameters())}
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {**layers, "penultimate": f"{linear[-1]}:input"} if linear else layers


def resolve(model: nn.Module, name: str, model_name: str) -> str:
    """The module path of a feature name or alias; raises `ModelMismatch` naming what the model has."""
    layers = feature_layers(model)
    stages = [layer for layer in layers if layer.startswith("stage")]
    stages = stages or [layer for layer in layers if layer != "penultimate"] or list(layers)
    if name in ALIASES and stages:
        name = stages[{"first": 0, "middle": (len(stages) - 1) // 2, "last": -1}[name]]
    path = layers.get(name, name)
    modules = dict(model.named_modules())
    if path.removesuffix(":input") not in modules:
        raise ModelMismatch(
            f"model {model_name!r} has no feature {name!r}",
            f"it has: {', '.join(layers)}, and any module path",
            did_you_mean(name, [*layers, *modules]),
        )
    return path


class FeatureTap:
    """Collects the chosen features of a model while it runs; `close` removes the hooks."""

    def __init__(self, model: nn.Module, names: Iterable[str], model_name: str) -> None:
        self.features: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        modules = dict(model.named_modules())
        for name in dict.fromkeys(names):
            path = resolve(model, name, model_name)
            module = modules[path.removesuffix(":input")]
            if path.endswith(":input"):
                self._handles.append(module.register_forward_pre_hook(self._save_input(name)))
            else:
                self._handles.append(module.register_forward_hook(self._save_output(name)))

    def _save_output(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.features[name] = output[0] if isinstance(output, tuple) else output

        return hook

    def _save_input(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.features[name] = inputs[0]

        return hook

    def take(self) -> Mapping[str, Tensor]:
        """The features of the last forward pass; the tap forgets them."""
        taken, self.features = self.features, {}
        return taken

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
