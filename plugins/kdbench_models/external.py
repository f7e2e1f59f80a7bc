"""Models of other libraries by name: `timm:resnet18`, `transformers:./my-model`.

Each library is imported when its factory is called, so that kdbench works without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from kdbench import DatasetInfo


def timm_model(name: str, info: DatasetInfo) -> nn.Module:
    """An image model of timm (Wightman, 2019), untrained, for the dataset's classes, channels and, if fixed, size."""
    if len(info.input_shape) != 3:
        raise ValueError(
            f"model 'timm:{name}' needs images (C, H, W), but {info.name!r} has input shape {info.input_shape}"
        )
    import timm

    channels, height, width = info.input_shape
    size = {"img_size": (height, width)} if timm.get_pretrained_cfg_value(name, "fixed_input_size") else {}
    model: Any = timm.create_model(name, pretrained=False, num_classes=info.num_classes, in_chans=channels, **size)
    model.feature_layers = _timm_feature_layers(model)
    network: nn.Module = model
    return network


def _timm_feature_layers(model: Any) -> dict[str, str]:
    """The feature modules that timm lists as stages, and the input of the classifier where there is just one."""
    paths = {path: module for path, module in model.named_modules() if path}
    listed = (entry["module"] for entry in getattr(model, "feature_info", ()))
    stages = {f"stage{number}": path for number, path in enumerate((path for path in listed if path in paths), 1)}
    classifier = next((path for path, module in paths.items() if module is model.get_classifier()), None)
    return stages | ({"penultimate": f"{classifier}:input"} if classifier else {})


def transformers_model(name: str, info: DatasetInfo) -> nn.Module:
    """A Hugging Face classifier of images (C, H, W) or of token indices (L,), from a folder or a hub name.

    A folder that holds a configuration and no weights gives an untrained model; anything else is loaded trained, with
    a new classifier where the number of classes differs.
    """
    import transformers

    images = len(info.input_shape) == 3
    auto: Any = (
        transformers.AutoModelForImageClassification if images else transformers.AutoModelForSequenceClassification
    )
    config = transformers.AutoConfig.from_pretrained(name, num_labels=info.num_classes)
    if not _is_untrained(Path(name)):
        return TransformersClassifier(auto.from_pretrained(name, config=config, ignore_mismatched_sizes=True), images)
    if images:
        channels, height, width = info.input_shape
        _set_where_known(config, num_channels=channels, image_size=height if height == width else (height, width))
    return TransformersClassifier(auto.from_config(config), images)


def _is_untrained(folder: Path) -> bool:
    patterns = ("model*.safetensors", "pytorch_model*.bin")
    return folder.is_dir() and not any(path for pattern in patterns for path in folder.glob(pattern))


def _set_where_known(config: Any, **values: object) -> None:
    for key, value in values.items():
        if hasattr(config, key):
            setattr(config, key, value)


_PARTS = {
    "query": ("query", "q_lin", "q_proj"),
    "key": ("key", "k_lin", "k_proj"),
    "value": ("value", "v_lin", "v_proj"),
}


def _attention_parts(paths: list[str], layers: tuple[str, int] = ("", 0)) -> dict[str, str]:
    """Paths of the embeddings and of each layer's queries, keys and values, as far as they are named as usual."""
    embeddings = next((path for path in paths if path.endswith(".embeddings")), None)
    found = {} if embeddings is None else {"embeddings": embeddings}
    prefix, count = layers
    for part, names in _PARTS.items():
        own = {
            number: path
            for path in paths
            for number in [path.removeprefix(f"{prefix}.").partition(".")[0]]
            if path.startswith(f"{prefix}.") and path.rpartition(".")[2] in names
        }
        if len(own) == count:
            found |= {f"{part}{int(number) + 1}": path for number, path in own.items()}
            found |= {part: own[str(count - 1)]} if count else {}
    return found


class TransformersClassifier(nn.Module):
    """A Hugging Face classifier that takes one tensor, or a mapping of its named inputs, and returns logits.

    Its first list of layers gives the stages; the input of its last linear layer is the penultimate feature. Where they
    can be told by their names, `embeddings` and each layer's `query1`, `key1`, `value1`... are features too, those of
    the last layer also as `query`, `key` and `value`. `attention_heads` and `padding_index` are its configuration's.
    """

    def __init__(self, model: Any, images: bool) -> None:
        super().__init__()
        self.model = model
        self.images = images
        modules = list(self.named_modules())
        lists = [(path, len(module)) for path, module in modules if isinstance(module, nn.ModuleList) and len(module)]
        linear = [path for path, module in modules if isinstance(module, nn.Linear)]
        self.feature_layers = {f"stage{i + 1}": f"{path}.{i}" for path, count in lists[:1] for i in range(count)}
        self.feature_layers |= _attention_parts([path for path, _ in modules], *lists[:1])
        self.feature_layers["penultimate"] = f"{linear[-1]}:input"
        self.attention_heads: int | None = getattr(model.config, "num_attention_heads", None)
        self.padding_index: int | None = None if images else getattr(model.config, "pad_token_id", None)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Logits, shape (N, classes)."""
        logits: Tensor = self.model(**(x if isinstance(x, Mapping) else self._named(x))).logits
        return logits

    def _named(self, x: Tensor) -> dict[str, Tensor]:
        if self.images:
            return {"pixel_values": x}
        padding = self.model.config.pad_token_id
        return {"input_ids": x.long()} | ({} if padding is None else {"attention_mask": (x != padding).long()})
