from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_pages_code_runs_from_top_to_bottom(capsys):
    names: dict[str, object] = {}
    for number, example in enumerate(EXAMPLES, 1):
        exec(compile(example, f"{PAGE.name}, example {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.count("distillation") == 3
    assert "student holds nan in a row" in printed
    assert "row 2 of shape (4, 10)" in printed
