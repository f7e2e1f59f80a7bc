"""A frozen ImageNet network as an encoder of pictures: EfficientNet-Lite0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import kdbench
from kdbench.errors import CheckpointError

FEATURES = 1280


def load_lite0(checkpoint: Path) -> torch.nn.Module:
    """EfficientNet-Lite0 (after Tan and Le, 2019) with the weights of a file, for evaluation.

    Raises: DataNotAvailable where the file is missing; CheckpointError where it is damaged or another model's.
    """
    from efficientnet_lite_pytorch import EfficientNet

    if not checkpoint.is_file():
        raise kdbench.DataNotAvailable(
            "the ImageNet weights of dataset 'emoji' are not on this machine",
            f"there is no {checkpoint}",
            "kdbench data fetch emoji",
        )
    model: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0")
    try:
        model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises many kinds: of pickle, of zip files, of shapes
        raise CheckpointError(
            f"{checkpoint} does not hold the weights of EfficientNet-Lite0",
            f"{type(error).__name__}: {str(error).splitlines()[0]}",
            "kdbench data fetch emoji",
        ) from error
    return model.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def encode(model: torch.nn.Module, pictures: np.ndarray) -> np.ndarray:
    """Penultimate features of pictures (N, 3, S, S), uint8: the means of the last maps, (N, 1280), float32."""
    inputs = torch.from_numpy(pictures).float().sub_(127).div_(128).contiguous(memory_format=torch.channels_last)
    features: np.ndarray = model.extract_features(inputs).mean(dim=(2, 3)).numpy()
    return features
