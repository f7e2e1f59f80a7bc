"""Kernels built before worker processes start, so that these only load them."""

from __future__ import annotations

import os
from collections.abc import Callable

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build.build import ensure_built
from kdbench.kernel_build.cache import cache_directory
from kdbench.kernel_build.prebuilt import find_prebuilt
from kdbench.kernel_build.sources import source_directory
from kdbench.kernel_build.targets import cpu_build


def prepare_kernels(device: str, say: Callable[[str], None]) -> None:
    """Build what runs on a device will use and is not built; where that fails, say so: torch serves then.

    For the CPU torch is not imported; on a GPU it has been, to find the device.
    """
    asked = os.environ.get("KDBENCH_KERNELS") or "auto"
    if asked == "torch":
        return
    try:
        if find_prebuilt("cpu")[0] is None:
            ensure_built(cpu_build(source_directory()), cache_directory(), say=say)
        if device.startswith("cuda") and find_prebuilt("cuda")[0] is None:
            from kdbench.kernels.loading import cuda_request

            ensure_built(cuda_request(), cache_directory(), say=say)
    except KernelsNotBuilt as error:
        say(f"warning: the losses run on plain torch, not on compiled kernels\n  {error}")
