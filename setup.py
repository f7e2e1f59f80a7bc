"""Packages of the distribution: the harness, the first-party plugins, the kernels' sources, and built kernels if asked.

KDBENCH_BUILD_KERNELS=1 pip install --no-build-isolation . compiles the kernels into the wheel.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PLUGINS = find_packages("plugins")
AHEAD = os.environ.get("KDBENCH_BUILD_KERNELS", "0") not in {"", "0"}


class BuildPackages(build_py):
    """Copies the packages; writes the commit into the wheel, so that records of an installed kdbench name it too."""

    def run(self):
        """Copy the packages, then add kdbench/commit.txt and the built kernels."""
        super().run()
        if AHEAD:
            self._build_kernels()
        if self.editable_mode or not (ROOT / ".git").exists():
            return
        try:
            commit = self._git("rev-parse", "HEAD")
            changes = self._git("status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.CalledProcessError) as error:
            self.warn(f"the commit is not recorded: {error}")
            return
        (Path(self.build_lib) / "kdbench" / "commit.txt").write_text(commit + ("+changes" if changes else "") + "\n")

    def _build_kernels(self):
        if self.editable_mode:
            sys.exit("KDBENCH_BUILD_KERNELS: an editable install builds at first use, or with: kdbench kernels build")
        sys.path.insert(0, str(ROOT))
        try:
            from kdbench.errors import KernelsNotBuilt
            from kdbench.kernel_build.ahead import build_ahead
        except ImportError as error:
            sys.exit(
                f"KDBENCH_BUILD_KERNELS: {error}\n  it needs --no-build-isolation, and the build's tools:"
                " pip install setuptools torch ninja pybind11 filelock msgspec platformdirs pluggy"
            )
        directory = Path(self.build_lib) / "kdbench" / "kernels" / "prebuilt"
        shutil.rmtree(directory, ignore_errors=True)
        try:
            build_ahead(directory, lambda text: sys.stderr.write(text + "\n"))
        except KernelsNotBuilt as error:
            log = Path(error.log).read_text() if error.log else ""
            sys.exit(f"KDBENCH_BUILD_KERNELS: {error}\n{log}")

    @staticmethod
    def _git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class MaybePlatformDistribution(Distribution):
    """Pure Python, unless the kernels are built into it."""

    def has_ext_modules(self):
        """Whether the wheel is for one platform and Python."""
        return AHEAD


setup(
    distclass=MaybePlatformDistribution,
    cmdclass={"build_py": BuildPackages},
    packages=[*find_packages(".", include=["kdbench", "kdbench.*"]), "kdbench.kernels.csrc", *PLUGINS],
    package_dir={name: f"plugins/{name.replace('.', '/')}" for name in PLUGINS} | {"kdbench.kernels.csrc": "csrc"},
    package_data={
        "kdbench": ["py.typed", "schema/*.json"],
        "kdbench.report.page": ["page.js", "page.css", "page.licences.txt", "page.sha256"],
        "kdbench.kernels.csrc": ["**/*.cpp", "**/*.h", "**/*.cu", "**/*.cuh"],
        "kdbench_data": ["data/*"],
    },
)
