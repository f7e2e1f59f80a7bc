"""The JSON Schema of a record, generated from `kdbench.records`; `python -m kdbench.schema` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kdbench.records import SCHEMA, Record

PATH = Path(__file__).with_name("record.schema.json")


def record_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"kdbench record, schema {SCHEMA}"}
    return head | msgspec.json.schema(Record)


def record_schema_text() -> str:
    """The schema as it is committed."""
    return msgspec.json.format(msgspec.json.encode(record_schema()), indent=2).decode() + "\n"
