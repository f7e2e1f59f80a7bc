"""Leaderboards as LaTeX tables with booktabs' rules."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.report.cells import Column, columns, errors, headline, is_supported, legend, one_line
from kdbench.report.leaderboard import Leaderboard

_LEFT_OUT = {"log_loss", "ece", "train_seconds", "train_memory", "latency_ms_p50", "train_samples_per_s"}
_BOLD = {"label", "mean", "difference"}
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "[": "{[}", "]": "{]}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$", "Δ": r"$\Delta$", "→": r"$\rightarrow$", "×": r"$\times$", "≠": r"$\neq$", "–": "--", "−": "$-$",
    "½": r"$\frac{1}{2}$",
}  # fmt: skip
"""What LaTeX would read as a command, and kdbench's own signs, which its usual fonts have in mathematics alone."""


def render_latex(boards: Sequence[Leaderboard]) -> str:
    r"""A `table` environment for each board, which needs `\usepackage{booktabs}`; notes follow as comments."""
    tables = [(board, [column for column in columns(board) if column.key not in _LEFT_OUT]) for board in boards]
    blocks = [_table(board, shown, number) for number, (board, shown) in enumerate(tables, 1)]
    if tables:
        blocks.append(f"% {one_line(legend(tables, 'bold'))}")
    return "\n\n".join(blocks or ["% No runs."]) + "\n"


def _table(board: Leaderboard, shown: Sequence[Column], number: int) -> str:
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(f'{board.title}; {headline(board)}')}}}",
        rf"\label{{tab:kdbench-{number}}}",
        rf"\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in shown)}}}",
        r"\toprule",
        _line([escape(column.title) for column in shown]),
        r"\midrule",
    ]
    for place, row in enumerate(board.rows):
        cells = [escape(column.cells[place]) for column in shown]
        if is_supported(row):
            cells = [rf"\textbf{{{c}}}" if column.key in _BOLD else c for c, column in zip(cells, shown, strict=True)]
        lines.append(_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join([*lines, *(f"% {one_line(remark)}" for remark in [*board.notes, *errors(board)])])


def escape(text: str) -> str:
    """Text on one line that LaTeX shows as it is."""
    return "".join(_SPECIAL.get(character, character) for character in one_line(text))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
