"""`kdbench new-plugin NAME`: an installable plugin to start from."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from kdbench.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "kdbench-$name"
version = "0.1.0"
description = "Distillation methods for kdbench."
requires-python = ">=3.11"
dependencies = ["kdbench"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.kdbench]
$name = "$module"

[tool.setuptools]
packages = ["$module"]
""",
    "README.md": """\
# kdbench-$name

A plugin for kdbench with the method `$name`.

```
pip install -e '.[test]'
kdbench plugins
kdbench run --dataset digits --method scratch --method kd --method $name
pytest
```
""",
    "$module/__init__.py": '''\
"""What this plugin registers. Keep torch out of this file: it is imported by every kdbench command."""

import kdbench


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the method; its module is imported when it is used."""
    register("$name", "$module.method:$cls", family="logit", source="", summary="soft targets with a rising weight")
''',
    "$module/method.py": '''\
"""A method to start from."""

from typing import Annotated

import kdbench


class $cls(kdbench.Method):
    """Soft targets whose weight rises linearly: (1 - a)·CE + a·T²·KL(teacher ‖ student), a = alpha · progress."""

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9

    def loss(self, batch, student, teacher):
        """Named terms; their sum is what is minimised."""
        alpha = self.alpha * batch.progress
        soft = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature)
        return {"ce": (1 - alpha) * batch.cross_entropy(student.logits), "kd": alpha * soft}
''',
    "tests/test_$module.py": """\
from kdbench.testing import check_method

from $module.method import $cls


def test_the_method_keeps_its_promises():
    check_method($cls)
""",
}


def new_plugin_command(name: str, into: Path) -> str:
    """Write the files of a plugin; what to do next.

    Raises: UsageError for a name that cannot be a plugin's, or a directory that exists.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a plugin", "lower-case letters, digits and single dashes, as in 'my-kd'"
        )
    directory = into / f"kdbench-{name}"
    if directory.exists():
        raise UsageError(f"{directory} exists already", fix="choose another name, or --into another directory")
    module = f"kdbench_{name.replace('-', '_')}"
    values = {"name": name, "module": module, "cls": "".join(part.capitalize() for part in name.split("-"))}
    for path, text in _FILES.items():
        file = directory / Template(path).substitute(values)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(values), encoding="utf-8")
    return f"wrote {directory}; next: pip install -e '{directory}[test]' && kdbench plugins"
