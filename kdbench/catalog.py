"""What the plugins registered: look-up by name, with suggestions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, get_args

import msgspec

from kdbench.combo import Combo
from kdbench.errors import PluginError, UnknownName
from kdbench.fetching.sources import Source
from kdbench.method import Method
from kdbench.names import did_you_mean
from kdbench.published import published_of
from kdbench.recipe import Recipe

Kind = Literal["dataset", "teacher", "student", "method", "recipe", "combo", "metric", "executor", "report_format"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Register(Protocol):
    """What a registration hook is called with."""

    def __call__(self, name: str, target: Any, /, **metadata: Any) -> None:
        """Register `target`, an object or "module:attr", under `name`."""


@dataclass(frozen=True)
class Entry:
    """One registered thing. With `metadata["scheme"]` it serves every name that begins with `name:`."""

    kind: Kind
    name: str
    target: Any
    plugin: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What an ordinary client brings for it; see `kdbench data`."""
        declared: tuple[Source, ...] = self.metadata.get("sources", ())
        return declared

    @property
    def missing(self) -> tuple[str, ...]:
        """Libraries it requires that are not installed."""
        return tuple(name for name in self.metadata.get("requires", ()) if find_spec(name) is None)

    @property
    def install_command(self) -> str:
        """The command that makes it available."""
        extra = self.metadata.get("extra")
        return f"pip install 'kdbench[{extra}]'" if extra else f"pip install {' '.join(self.missing)}"

    def check_installed(self) -> None:
        """Raise `PluginError`, with the command that installs them, where libraries are missing."""
        if self.missing:
            raise PluginError(
                f"{self.kind} {self.name!r} is unavailable",
                f"plugin {self.plugin!r} needs {', '.join(self.missing)}, not installed",
                self.install_command,
            )

    def load(self) -> Any:
        """The registered object itself, imported where it was given as a string."""
        self.check_installed()
        value = import_target(self.target, f"{self.kind} {self.name!r} of plugin {self.plugin!r}")
        _check_type(self.kind, self.name, self.plugin, value)
        return value


class Catalog:
    """Everything registered, by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in KINDS}

    def add(self, kind: Kind, name: str, target: Any, plugin: str, metadata: Mapping[str, Any]) -> None:
        """Add an entry; raises `PluginError` for a name taken, or an object that cannot be one of its kind."""
        if not isinstance(name, str) or not name:
            raise PluginError(f"plugin {plugin!r} registered a {kind} whose name is {name!r}: it must be text")
        if taken := self._entries[kind].get(name):
            raise PluginError(
                f"{kind} {name!r} is registered by both {taken.plugin!r} and {plugin!r}",
                f"the one of {taken.plugin!r} is used",
                f"block one of them: -p no:{plugin}",
            )
        if not isinstance(target, str):
            _check_type(kind, name, plugin, target)
        elif ":" not in target:
            raise PluginError(
                f"plugin {plugin!r} registered {kind} {name!r} as {target!r}", 'a string must be "module:attr"'
            )
        sources = metadata.get("sources", ())
        if not isinstance(sources, tuple) or not all(isinstance(source, Source) for source in sources):
            raise PluginError(
                f"plugin {plugin!r} registered {kind} {name!r} with sources={sources!r}",
                "it must be a tuple of kdbench.Source",
            )
        if kind == "method":
            _check_twins(name, plugin, metadata)
        if kind == "combo":
            _check_published(name, plugin, metadata)
        self._entries[kind][name] = Entry(kind, name, target, plugin, metadata)

    def entries(self, kind: Kind) -> list[Entry]:
        """Entries of a kind, in order of registration."""
        return list(self._entries[kind].values())

    def of_plugin(self, plugin: str) -> Iterator[Entry]:
        """Everything one plugin registered."""
        return (entry for kind in KINDS for entry in self._entries[kind].values() if entry.plugin == plugin)

    def find(self, kind: Kind, name: str) -> Entry:
        """The entry of that name; `scheme:argument` and import strings (`pkg.module:attr`) are resolved too."""
        known = self._entries[kind]
        if name in known:
            return known[name]
        scheme, separator, argument = name.partition(":")
        if separator and (entry := known.get(scheme)) and entry.metadata.get("scheme"):
            return Entry(kind, name, _Bound(entry, argument), entry.plugin, entry.metadata)
        if separator and kind in {"dataset", "teacher", "student", "method"}:
            return Entry(kind, name, name, "import string")
        raise UnknownName(
            f"unknown {kind.replace('_', ' ')} {name!r}",
            did_you_mean(name, known),
            f"kdbench list {kind}s" if kind in KINDS[:6] else f"known: {', '.join(known)}",
        )


@dataclass(frozen=True)
class _Bound:
    """A scheme's factory with the text after the colon as its first argument."""

    scheme: Entry
    argument: str

    def __call__(self, *args: Any) -> Any:
        return self.scheme.load()(self.argument, *args)


def import_target(target: Any, what: str) -> Any:
    """The object that "module:attr" names; anything else as it is."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        value: Any = import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{what} cannot be imported from {target!r}", f"{type(error).__name__}: {error}") from error
    return value


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method)


_EXPECTED: dict[Kind, tuple[Callable[[Any], bool], str]] = {
    "recipe": (lambda value: isinstance(value, Recipe), "a kdbench.Recipe"),
    "combo": (lambda value: isinstance(value, Combo), "a kdbench.Combo"),
    "method": (_is_method, "a subclass of kdbench.Method"),
}


def _check_type(kind: Kind, name: str, plugin: str, value: Any) -> None:
    check, expected = _EXPECTED.get(kind, (callable, "a callable"))
    if not check(value):
        raise PluginError(
            f"plugin {plugin!r} registered {kind} {name!r} as {value!r}",
            f'it must be {expected}, or a "module:attr" string that names one',
        )
    if isinstance(value, Recipe | Combo):  # structs check what they are decoded from, not what Python makes them of
        try:
            msgspec.convert(msgspec.to_builtins(value), type(value))
        except (msgspec.ValidationError, TypeError) as error:
            raise PluginError(
                f"plugin {plugin!r} registered {kind} {name!r} that cannot be used", str(error)
            ) from error


def _check_twins(name: str, plugin: str, metadata: Mapping[str, Any]) -> None:
    given, undistilled = metadata.get("given", ()), metadata.get("undistilled", {})
    names = [*given, *undistilled] if isinstance(given, tuple) and isinstance(undistilled, Mapping) else [None]
    if not all(isinstance(each, str) for each in names):
        raise PluginError(
            f"plugin {plugin!r} registered method {name!r} with given={given!r}, undistilled={undistilled!r}",
            "they are a tuple of the method's parameters, and a mapping of some to values",
            'given=("labelled",), undistilled={"weight": 0}',
        )


def _check_published(name: str, plugin: str, metadata: Mapping[str, Any]) -> None:
    try:
        published_of(metadata)
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"plugin {plugin!r} registered combo {name!r} with a published figure that cannot be used",
            str(error),
            'published=kdbench.Published(metric="accuracy", value=0.7492, source="...", protocol="...")',
        ) from error
