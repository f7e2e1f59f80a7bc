"""`kdbench list methods NAME`: what a method computes, needs and can be set to."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from kdbench.catalog import Catalog, Entry
from kdbench.commands.listing import aligned, as_json_text
from kdbench.errors import InvalidParameter
from kdbench.method import Method, Needs
from kdbench.search import Search, bounds, plain_type

_FLAGS = {"input_grad": "gradients at the input"}
"""How a need that is a flag reads; another one by its name."""


def methods_command(catalog: Catalog, names: tuple[str, ...], *, as_json: bool) -> str:
    """The pages of the named methods as text, or as a JSON list.

    Raises: UnknownName; PluginError for a method that is not available here.
    """
    entries = [catalog.find("method", name) for name in names]
    if as_json:
        return as_json_text([_described(entry) for entry in entries])
    return "\n\n".join(_page(entry) for entry in entries)


def _described(entry: Entry) -> dict[str, Any]:
    method: type[Method] = entry.load()
    schema, space = method.parameter_schema(), method.search_space()
    return {
        "name": entry.name,
        "plugin": entry.plugin,
        **{key: entry.metadata.get(key, "") for key in ("family", "source", "summary")},
        "description": inspect.getdoc(method) or "",
        "needs": msgspec.to_builtins(_needs(method)),
        "trains_teacher": method.trains_teacher,
        "tasks": list(method.tasks),
        "parameters": {
            name: {
                "type": _type_text(hint),
                "range": _range_text(hint),
                "default": method.defaults()[name],
                "search": None if space[name].fixed else _search(space[name]),
                "not_searched": space[name].why if space[name].fixed else None,
                "schema": schema[name],
            }
            for name, hint in method.parameter_types().items()
        },
    }


def _page(entry: Entry) -> str:
    method: type[Method] = entry.load()
    family, source = entry.metadata.get("family", ""), entry.metadata.get("source", "")
    facts = [
        ("family", family),
        ("source", source),
        ("plugin", entry.plugin),
        ("tasks", ", ".join(method.tasks)),
        ("needs", _needs_text(method)),
    ]
    lines = [f"{entry.name}: {entry.metadata['summary']}" if entry.metadata.get("summary") else entry.name, ""]
    lines += [f"  {line}".rstrip() for line in (inspect.getdoc(method) or "").splitlines()]
    lines += ["", *(f"  {line}" for line in aligned([list(fact) for fact in facts if fact[1]]))]
    space, defaults, schema = method.search_space(), method.defaults(), method.parameter_schema()
    shown = {name: _value_text(defaults[name]) if "default" in schema[name] else "required" for name in defaults}
    rows = [
        [name, _type_text(hint), _range_text(hint), shown[name], _search_text(space[name])]
        for name, hint in method.parameter_types().items()
    ]
    lines.append("")
    if rows:
        lines += [f"  {line}" for line in aligned([["parameter", "type", "range", "default", "kdbench tune"], *rows])]
        lines.append(f"  change one with --set {entry.name}.{rows[0][0]}=...")
    else:
        lines.append("  no hyper-parameters")
    return "\n".join(lines)


def _needs(method: type[Method]) -> Needs | None:
    """What it needs at its defaults; None for a method that cannot be made without parameters."""
    try:
        needs: Needs = method().needs
    except InvalidParameter:
        return None
    return needs


def _needs_text(method: type[Method]) -> str:
    needs = _needs(method)
    if needs is None:
        return "depends on its parameters"
    both = tuple(name for name in needs.student_features if name in needs.teacher_features)
    parts = ["the teacher's logits"] * needs.logits
    if both:
        parts.append(f"features {', '.join(both)} of both models")
    for whose, names in (("student's", needs.student_features), ("teacher's", needs.teacher_features)):
        if alone := [name for name in names if name not in both]:
            parts.append(f"the {whose} features {', '.join(alone)}")
    flags = [one.name for one in fields(needs) if getattr(needs, one.name) is True and one.name != "logits"]
    parts += [_FLAGS.get(name, name.replace("_", " ")) for name in flags]
    if alone := [name for name in needs.differentiates if not needs.input_grad]:
        parts.append(f"a {' and a '.join(alone)} with gradients at inputs of its own making")
    parts += ["a teacher of its own, which it trains"] * method.trains_teacher
    parts += ["the teacher itself, of which it makes the student"] * method.student_from_teacher
    return "; ".join(parts) or "labels alone"


def _type_text(hint: Any) -> str:
    """`float`, `kd | dkd`, `list of str`; `or none` where it may be absent."""
    plain = plain_type(hint)
    if get_origin(plain) is Literal:
        return "one of " + ", ".join(map(str, get_args(plain)))
    if get_origin(plain) in {tuple, list}:
        return f"list of {_type_text(get_args(plain)[0])}"
    optional = " or none" if type(None) in get_args(_unannotated(hint)) else ""
    return getattr(plain, "__name__", str(plain)) + optional


def _unannotated(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def _range_text(hint: Any) -> str:
    """`> 0`, `0 to 1`, `0 to < 1`; empty where there is none."""
    plain = plain_type(hint)
    if get_origin(plain) in {tuple, list}:
        inner = _range_text(get_args(plain)[0])
        return f"each {inner}" if inner else ""
    low, high, open_low, open_high = bounds(hint)
    if low is None and high is None:
        return ""
    if high is None:
        return f"{'>' if open_low else '≥'} {low:g}"
    upper = f"{'<' if open_high else '≤'} {high:g}"
    return upper if low is None else f"{'>' if open_low else '≥'} {low:g}, {upper}"


def _search_text(search: Search) -> str:
    return str(search) if not search.fixed else f"– ({search.why})"


def _search(search: Search) -> dict[str, Any]:
    if search.choices:
        found: dict[str, Any] = {"choices": list(search.choices)}
    else:
        found = {"low": search.low, "high": search.high, "log": search.log}
    return found | ({"when": list(search.when)} if search.when else {})


def _value_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_value_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
