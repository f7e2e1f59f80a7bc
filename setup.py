"""Packages of the distribution: the harness and the first-party plugins."""

import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PLUGINS = find_packages("plugins")


class BuildWithCommit(build_py):
    """Writes the commit into the wheel, so that records of an installed kdbench name it too."""

    def run(self):
        """Copy the packages, then add kdbench/commit.txt where the source is a git checkout."""
        super().run()
        if self.editable_mode or not (ROOT / ".git").exists():
            return
        try:
            commit = self._git("rev-parse", "HEAD")
            changes = self._git("status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.CalledProcessError) as error:
            self.warn(f"the commit is not recorded: {error}")
            return
        (Path(self.build_lib) / "kdbench" / "commit.txt").write_text(commit + ("+changes" if changes else "") + "\n")

    @staticmethod
    def _git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


setup(
    cmdclass={"build_py": BuildWithCommit},
    packages=[*find_packages(".", include=["kdbench", "kdbench.*"]), *PLUGINS],
    package_dir={name: f"plugins/{name.replace('.', '/')}" for name in PLUGINS},
    package_data={
        "kdbench": ["py.typed", "schema/*.json"],
        "kdbench_data": ["data/*"],
    },
)
