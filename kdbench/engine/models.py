"""Building the models of a pair, and finding out whether they fit the data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.catalog import Catalog, Entry
from kdbench.data import DatasetInfo
from kdbench.engine.features import FeatureTap
from kdbench.engine.seeding import TEACHER_SEED, own_stream
from kdbench.engine.tasks import kind_of
from kdbench.errors import KdbenchError, ModelMismatch
from kdbench.method import ModelInfo, View


def build_model(entry: Entry, info: DatasetInfo) -> nn.Module:
    """The model that a registered factory makes for a dataset; raises `ModelMismatch` where it cannot."""
    factory = entry.load()
    try:
        model = factory(info)
    except KdbenchError:
        raise
    except Exception as error:  # a factory is third-party code: its error is attributed and re-raised typed
        raise ModelMismatch(
            f"{entry.kind} {entry.name!r} cannot be built for dataset {info.name!r}",
            f"inputs of shape {info.input_shape}, {info.num_classes} classes: {type(error).__name__}: {error}",
            f"choose another: kdbench list {entry.kind}s",
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelMismatch(
            f"{entry.kind} {entry.name!r} of plugin {entry.plugin!r} returned {type(model).__name__}",
            "a factory returns a torch.nn.Module",
        )
    return model


@torch.no_grad()
def inspect_model(
    model: nn.Module, entry: Entry, info: DatasetInfo, example: Tensor, features: tuple[str, ...]
) -> ModelInfo:
    """Run the model once on a few items and report its feature shapes; its state is left as it was.

    Raises: ModelMismatch where it cannot take the inputs, or its logits are not of the task's shape, (N, classes) say.
    """
    training, tap = model.training, FeatureTap(model, features, entry.name)
    model.eval()
    try:
        logits = model(example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelMismatch(
            f"{entry.kind} {entry.name!r} cannot take dataset {info.name!r}",
            f"inputs of shape {tuple(example.shape[1:])}: {type(error).__name__}: {error}",
            f"choose another: kdbench list {entry.kind}s",
        ) from error
    finally:
        tap.close()
        model.train(training)
    expected = kind_of(info.task).logits_shape(len(example), info)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelMismatch(
            f"{entry.kind} {entry.name!r} does not fit dataset {info.name!r}",
            f"it returned {found} for {len(example)} items of {info.num_classes} classes; expected logits {expected}",
            "build it with info.num_classes outputs, or load the checkpoint of a model with as many",
        )
    return ModelInfo(entry.name, model, {name: tuple(value.shape[1:]) for name, value in tap.features.items()})


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a pair: its registered model, and what that sees of the data: a description and a few items."""

    entry: Entry
    info: DatasetInfo
    example: Tensor


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the further models of a run (`Pair.new_model`): of the pair's architectures, or of any registered student.

    Their initial weights depend on `seed` and the purpose, and not on what was drawn before.
    """

    catalog: Catalog
    sides: Mapping[View, Side]
    seed: int

    def __call__(self, name: str, purpose: tuple[object, ...], view: View, features: tuple[str, ...]) -> ModelInfo:
        """The model, on the device of the data. Raises: UnknownName, ModelMismatch."""
        side = self.sides[view]
        entry = self.sides[name].entry if name in self.sides else self.catalog.find("student", name)  # type: ignore[index]
        with own_stream(self.seed, "model", *purpose):
            return self._build(entry, side, features)

    def untrained_teacher(self) -> ModelInfo:
        """The run's teacher as the bank had it before its training."""
        side = self.sides["teacher"]
        with own_stream(TEACHER_SEED, "student"):
            return self._build(side.entry, side, ())

    def family_sizes(self) -> dict[str, int]:
        """Students of the pair's families that can be built for the student's view, and their numbers of parameters."""
        families = {side.entry.metadata.get("family") for side in self.sides.values()} - {None}
        sizes = {}
        with own_stream(self.seed, "sizes"):
            for entry in self.catalog.entries("student"):
                if entry.metadata.get("family") in families and not entry.metadata.get("scheme") and not entry.missing:
                    with suppress(ModelMismatch):  # too small an image, say
                        model = build_model(entry, self.sides["student"].info)
                        sizes[entry.name] = sum(parameter.numel() for parameter in model.parameters())
        return sizes

    def _build(self, entry: Entry, side: Side, features: tuple[str, ...]) -> ModelInfo:
        model = build_model(entry, side.info).to(side.example.device)
        return inspect_model(model, entry, side.info, side.example, features)
