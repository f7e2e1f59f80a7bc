"""Named features of any model, read by forward hooks without changing its code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from torch import Tensor, nn

from kdbench.errors import ModelMismatch
from kdbench.names import did_you_mean

ALIASES = ("first", "middle", "last")
PRE_ACTIVATION = ":pre"
UNPOOLED = "penultimate:maps"

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
    nn.Softplus, nn.Sigmoid, nn.Tanh,
)  # fmt: skip
_UNCHANGED = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)  # as a model is evaluated
_LINEAR = (nn.Linear, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)


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
    """The module path of a feature name or alias; `NAME:pre` is that feature before its last activation.

    `penultimate:maps` is what the global average pooling before the last linear layer receives, and `penultimate` where
    there is none. Raises: ModelMismatch naming what the model has.
    """
    if name == UNPOOLED:
        return _before_pooling(model, model_name)
    if name.endswith(PRE_ACTIVATION):
        return _before_activation(model, name.removesuffix(PRE_ACTIVATION), model_name)
    name = _without_alias(model, name)
    layers = feature_layers(model)
    path = layers.get(name, name)
    modules = dict(model.named_modules())
    if path.removesuffix(":input") not in modules:
        raise ModelMismatch(
            f"model {model_name!r} has no feature {name!r}",
            f"it has: {', '.join(layers)}, and any module path",
            did_you_mean(name, [*layers, *modules]),
        )
    return path


def _without_alias(model: nn.Module, name: str) -> str:
    layers = [layer for layer in feature_layers(model) if layer != UNPOOLED]
    stages = [layer for layer in layers if layer.startswith("stage")]
    stages = stages or [layer for layer in layers if layer != "penultimate"] or layers
    if name in ALIASES and stages:
        return stages[{"first": 0, "middle": (len(stages) - 1) // 2, "last": -1}[name]]
    return name


def _before_activation(model: nn.Module, name: str, model_name: str) -> str:
    """Where a feature is before its last activation; the feature itself where it ends without one.

    A model may tell (`pre_activations`, feature name -> path), and so may a module (`pre_activation`, a path within it,
    empty for its output). Of `nn.Sequential` the last module decides; what other modules do inside is not guessed.
    """
    path = resolve(model, name, model_name)
    declared: Mapping[str, str] = getattr(model, "pre_activations", {})
    if (told := declared.get(_without_alias(model, name))) is not None:
        return told
    modules = dict(model.named_modules())
    while path in modules:
        module = modules[path]
        told = getattr(module, "pre_activation", None)
        if told is not None:
            return f"{path}.{told}" if told else path
        if isinstance(module, _ACTIVATIONS):
            return f"{path}:input"
        if isinstance(module, _LINEAR):
            return path
        if not (isinstance(module, nn.Sequential) and len(module)):
            break
        path = f"{path}.{list(module._modules)[-1]}"
    raise ModelMismatch(
        f"model {model_name!r} does not tell what its feature {name!r} is before the activation",
        f"{path!r} is " + (f"a {type(modules[path]).__name__}" if path in modules else "no module's output"),
        "name the module's input itself, such as 'layer1.1.relu:input', or let the model declare `pre_activations`",
    )


def _before_pooling(model: nn.Module, model_name: str) -> str:
    """Where `penultimate` is still maps; itself where it never was.

    A model whose pooling is no module may tell, by that name in its `feature_layers`. Else the pooling has to be the
    module that is registered before the one that reads `penultimate`, but for those that change no number: what a model
    computes besides between the two would be lost on a reader of the maps.
    """
    told = feature_layers(model).get(UNPOOLED)
    if told is not None:
        return told
    path = resolve(model, "penultimate", model_name)
    before = list(takewhile(lambda each: f"{each[0]}:input" != path, model.named_modules()))
    for name, module in reversed(before) if path.endswith(":input") else ():
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            return f"{name}:input"
        if not isinstance(module, _UNCHANGED) and not any(True for _ in module.children()):
            break
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
            # An activation that works in place would overwrite what it was given.
            self.features[name] = inputs[0].clone() if getattr(module, "inplace", False) else inputs[0]

        return hook

    def take(self) -> Mapping[str, Tensor]:
        """The features of the last forward pass; the tap forgets them."""
        taken, self.features = self.features, {}
        return taken

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
