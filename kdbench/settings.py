"""`--set key=value`: what a person changes of the selected combos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_origin

import msgspec

from kdbench.combo import Combo
from kdbench.errors import InvalidParameter
from kdbench.method import Method
from kdbench.names import did_you_mean
from kdbench.recipe import Recipe
from kdbench.search import plain_type

COMBO_FIELDS = ("teacher_recipe", "teacher_checkpoint", "teacher_view", "student_view")
_TUPLES = {"augment", "milestones"}
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")
"""Numbers as people write them: JSON knows neither `.05` nor `1.`."""


@dataclass(frozen=True)
class Setting:
    """One `--set`: a key, perhaps qualified by `recipe.`, `teacher_recipe.`, `method.` or a method's name."""

    text: str
    scope: str
    key: str
    value: Any


@dataclass
class Settings:
    """All `--set` of a command, and which of them something used."""

    given: list[Setting]
    _used: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _idle: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Settings:
        """Raises: InvalidParameter for a text that is not `key=value`."""
        return cls([_parse(text) for text in texts])

    def of_combo(self, combo: Combo) -> Combo:
        """The combo with its own fields changed (`teacher_checkpoint=...`, `student_view=...`)."""
        changes = {one.key: one.value for one in self._matching({""}, COMBO_FIELDS)}
        return msgspec.structs.replace(combo, **changes)

    def of_method(self, name: str, method: type[Method], registered: Mapping[str, Any]) -> dict[str, Any]:
        """Hyper-parameters for a method: those that it has, qualified by nothing, `method` or its name.

        What is qualified by nothing is meant for whatever has it, and left out of a method in which other parameters,
        those of the combo as `registered` among them, leave it without effect.
        """
        known = list(method.defaults())
        qualified = [one for one in self.given if one.scope in {"method", name} and one.key not in known]
        for one in qualified:
            raise InvalidParameter(
                f"--set {one.text}: method {name!r} has no parameter {one.key!r}",
                f"it has: {', '.join(known) or 'none'}",
                did_you_mean(one.key, known),
            )
        lists = {key for key, hint in method.parameter_types().items() if get_origin(plain_type(hint)) in {tuple, list}}
        found = self._found({"", "method", name}, known)
        values = {one.key: one.value for one in found}
        idle = method.without_effect({**method.defaults(), **registered, **values})
        counted = [one for one in found if one.scope or one.key not in idle]
        for one in found:
            if one not in counted:
                other, wanted = idle[one.key]
                counts = f"{other}={msgspec.json.encode(wanted).decode()}"
                self._idle[one.text] = f"in {name!r} it counts only where {counts}"
        self._used |= {one.text for one in counted}
        return {one.key: _as_list(one.value) if one.key in lists else one.value for one in counted}

    def of_recipe(self, recipe: Recipe, scope: str, label: str) -> Recipe:
        """The recipe with the fields of a scope changed; the scope "recipe" takes unqualified keys too."""
        fields = Recipe.__struct_fields__
        scopes = {scope, ""} if scope == "recipe" else {scope}
        for one in self.given:
            if one.scope == scope and one.key not in fields:
                why = f"a recipe has: {', '.join(fields)}"
                raise InvalidParameter(f"--set {one.text}: no such field", why, did_you_mean(one.key, fields))
        changes = {
            one.key: _as_list(one.value) if one.key in _TUPLES else one.value for one in self._matching(scopes, fields)
        }
        if not changes:
            return recipe
        try:
            return msgspec.convert({**msgspec.to_builtins(recipe), **changes}, Recipe, strict=False)
        except msgspec.ValidationError as error:
            texts = ", ".join(one.text for one in self.given if one.key in changes)
            raise InvalidParameter(f"--set {texts}: {error}", f"recipe {label!r}") from error

    def check_used(self) -> None:
        """Raise InvalidParameter for a setting that no selected combo, method or recipe has."""
        for one in self.given:
            if one.text not in self._used and one.text in self._idle:
                raise InvalidParameter(f"--set {one.text} has no effect", self._idle[one.text], "set that too")
            if one.text not in self._used:
                known = [*COMBO_FIELDS, *Recipe.__struct_fields__, *sorted(self._seen)]
                raise InvalidParameter(
                    f"--set {one.text}: nothing selected has {one.key!r}" + (f" in {one.scope!r}" if one.scope else ""),
                    did_you_mean(one.key, known),
                    "kdbench list methods --json shows each method's parameters; recipes have: "
                    + ", ".join(Recipe.__struct_fields__),
                )

    def _matching(self, scopes: set[str], keys: Sequence[str]) -> list[Setting]:
        found = self._found(scopes, keys)
        self._used |= {one.text for one in found}
        return found

    def _found(self, scopes: set[str], keys: Sequence[str]) -> list[Setting]:
        self._seen |= set(keys)
        return [one for one in self.given if one.scope in scopes and one.key in keys]


def _parse(text: str) -> Setting:
    path, separator, value = text.partition("=")
    scope, _, key = path.strip().rpartition(".")
    if not separator or not key:
        raise InvalidParameter(f"--set {text!r} is not key=value", fix="for example: --set kd.temperature=2")
    return Setting(text, scope, key, _value(value.strip()))


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if _DECIMAL.fullmatch(text):
            return float(text)
        return None if text == "none" else text


def _as_list(value: Any) -> Any:
    """`a,b,c`, or one value, as a list; a JSON list as it is."""
    if isinstance(value, list) or value is None:
        return value
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else [value]
