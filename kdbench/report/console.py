"""The rich console that text for a terminal is laid out with."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LEAST_WIDTH = 40
DEFAULT_WIDTH = 120
"""Where the output is not a terminal."""


def terminal_width(width: int | None) -> int:
    """The columns given, or those of the terminal."""
    return max(width or shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns, LEAST_WIDTH)


def text_console(output: io.StringIO, width: int | None, *, color: bool) -> Console:
    """A console that writes to `output`, and reads nothing into names: no markup, emoji or highlighting."""
    from rich.console import Console

    return Console(
        file=output, width=terminal_width(width), force_terminal=color, color_system="standard" if color else None,
        no_color=not color, highlight=False, emoji=False, markup=False, legacy_windows=False,
    )  # fmt: skip


def written(output: io.StringIO) -> str:
    """What was written, without spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"
