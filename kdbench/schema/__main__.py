"""`python -m kdbench.schema` writes the schema beside this file; `--check` fails where it is out of date."""

from __future__ import annotations

import sys

from kdbench.schema import PATH, record_schema_text


def main(arguments: list[str]) -> int:
    """Write or check the file; the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m kdbench.schema [--check]\n")
        return 2
    current = PATH.exists() and PATH.read_text(encoding="utf-8") == record_schema_text()
    if arguments and not current:
        sys.stderr.write(f"{PATH} is out of date; write it with: python -m kdbench.schema\n")
        return 1
    if not current:
        PATH.write_text(record_schema_text(), encoding="utf-8")
    sys.stdout.write(f"{PATH}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
