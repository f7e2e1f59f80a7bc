"""Why a plot is not made."""

from __future__ import annotations


class LeftOut(Exception):
    """Raised by what would draw a plot, where there is nothing to draw; its text says why."""
