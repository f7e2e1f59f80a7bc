"""Model zoo: small models, the CIFAR architectures of the distillation papers, and timm or transformers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import kdbench


class Family(NamedTuple):
    """Architectures of one module, by name, with their parameters for 3x32x32 inputs and 100 classes."""

    module: str
    source: str
    inputs: str
    params: dict[str, str]


FAMILIES = (
    Family("mlp", "", "any", {"linear": "0.31M", "mlp-s": "0.10M", "mlp-m": "0.42M", "mlp-l": "1.89M"}),
    Family("cnn", "", "image", {"cnn-s": "0.01M", "cnn-m": "0.11M", "cnn-l": "0.46M"}),
    Family(
        "resnet",
        "He et al. (2016)",
        "image",
        {
            "resnet8": "0.08M",
            "resnet14": "0.18M",
            "resnet20": "0.28M",
            "resnet32": "0.47M",
            "resnet44": "0.67M",
            "resnet56": "0.86M",
            "resnet110": "1.74M",
            "resnet8x4": "1.23M",
            "resnet32x4": "7.43M",
            "resnet18": "11.22M",
            "resnet34": "21.33M",
            "resnet50": "23.71M",
        },
    ),
    Family(
        "wrn",
        "Zagoruyko & Komodakis (2016)",
        "image",
        {"wrn-16-1": "0.18M", "wrn-16-2": "0.70M", "wrn-40-1": "0.57M", "wrn-40-2": "2.26M"},
    ),
    Family("vgg", "Simonyan & Zisserman (2015)", "image", {"vgg8": "3.97M", "vgg11": "9.28M", "vgg13": "9.46M"}),
    Family("mobilenet", "Sandler et al. (2018)", "image", {"mobilenetv2": "0.81M"}),
    Family(
        "shufflenet",
        "Zhang et al. (2018), Ma et al. (2018)",
        "image",
        {"shufflenetv1": "0.95M", "shufflenetv2": "1.36M"},
    ),
    Family(
        "imagenet",
        "He et al. (2016), Howard et al. (2017)",
        "image",
        {
            "imagenet-resnet18": "11.23M",
            "imagenet-resnet34": "21.34M",
            "imagenet-resnet50": "23.71M",
            "imagenet-mobilenetv1": "3.31M",
        },
    ),
)


@kdbench.hookimpl
def kdbench_register_students(register: Callable[..., None]) -> None:
    """Every architecture can be a student."""
    _register_all(register)


@kdbench.hookimpl
def kdbench_register_teachers(register: Callable[..., None]) -> None:
    """Every architecture can be a teacher."""
    _register_all(register)


def _register_all(register: Callable[..., None]) -> None:
    for family in FAMILIES:
        for name, params in family.params.items():
            register(
                name,
                f"kdbench_models.{family.module}:{name.replace('-', '_')}",
                family=family.module,
                source=family.source,
                inputs=family.inputs,
                params=params,
            )
    for library in ("timm", "transformers"):
        register(
            library,
            f"kdbench_models.external:{library}_model",
            scheme=True,
            requires=(library,),
            extra=library,
            family=library,
            source=library,
            inputs="image" if library == "timm" else "any",
        )
