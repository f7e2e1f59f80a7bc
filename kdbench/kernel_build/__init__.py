"""From `csrc/` to shared libraries: compiled at first use into a per-user cache, or ahead of time into a wheel.

Nothing here imports torch, so that a command's parent process and setup.py can build without it: torch's directory and
version are read where it is installed.
"""

from kdbench.kernel_build.build import build_into, ensure_built, find_built
from kdbench.kernel_build.cache import Built, cache_directory
from kdbench.kernel_build.prebuilt import find_prebuilt
from kdbench.kernel_build.sources import source_directory
from kdbench.kernel_build.targets import Build, cpu_build, cuda_build

__all__ = [
    "Build",
    "Built",
    "build_into",
    "cache_directory",
    "cpu_build",
    "cuda_build",
    "ensure_built",
    "find_built",
    "find_prebuilt",
    "source_directory",
]
