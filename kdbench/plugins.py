"""Finding plugins, asking them what they register, and telling them what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from kdbench import hookspecs
from kdbench.catalog import KINDS, Catalog, Kind
from kdbench.errors import KdbenchError, PluginError, UnknownName
from kdbench.names import did_you_mean

GROUP = "kdbench"
Warn = Callable[[str], None]


@dataclass
class Plugin:
    """One discovered plugin, loaded or not."""

    name: str
    distribution: str = ""
    version: str = ""
    problems: list[str] = field(default_factory=list)
    fix: str = ""
    loaded: bool = False
    blocked: bool = False


@dataclass
class Plugins:
    """The loaded plugins and what they registered."""

    manager: pluggy.PluginManager
    catalog: Catalog
    plugins: list[Plugin]

    @property
    def problems(self) -> list[str]:
        """One line for each thing that went wrong while loading."""
        return [problem for plugin in self.plugins for problem in plugin.problems]

    def versions(self) -> dict[str, str]:
        """Distribution versions by plugin name, for provenance."""
        return {
            plugin.name: f"{plugin.distribution} {plugin.version}".strip() for plugin in self.plugins if plugin.loaded
        }

    def emit(self, event: str, warn: Warn, **arguments: Any) -> None:
        """Call an event hook of every plugin; one that raises is reported by name and stops nothing."""
        for implementation in getattr(self.manager.hook, event).get_hookimpls():
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:  # noqa: BLE001 - a logger's fault must never cost a run; it is reported
                warn(f"plugin {implementation.plugin_name!r} raised in {event}: {type(error).__name__}: {error}")


def load_plugins(blocked: Iterable[str] = (), points: Iterable[EntryPoint] | None = None) -> Plugins:
    """Discover the installed plugins and let each register; problems are kept, not raised.

    Args:
        blocked: plugin names to leave out, as given by `-p no:NAME`.
        points: the entry points to load; those of the group "kdbench" where absent.

    Raises: UnknownName for a blocked name that is no plugin.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    found = sorted(entry_points(group=GROUP) if points is None else points, key=lambda point: point.name)
    blocked = set(blocked)
    for name in blocked - {point.name for point in found}:
        raise UnknownName(
            f"no plugin is named {name!r}", did_you_mean(name, (point.name for point in found)), "kdbench plugins"
        )
    result = Plugins(manager, Catalog(), [])
    for point in found:
        plugin = Plugin(
            point.name,
            distribution=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
            blocked=point.name in blocked,
        )
        result.plugins.append(plugin)
        if not plugin.blocked:
            _load(point, plugin, manager)
    for plugin in result.plugins:
        if plugin.loaded:
            _let_register(plugin, result)
    return result


def _load(point: EntryPoint, plugin: Plugin, manager: pluggy.PluginManager) -> None:
    try:
        manager.register(point.load(), name=plugin.name)
        plugin.loaded = True
    except ModuleNotFoundError as error:
        extra = f"{plugin.distribution}[{','.join(point.extras)}]" if point.extras else error.name
        plugin.fix = f"pip install {extra!r}" if point.extras else f"pip install {error.name}"
        plugin.problems.append(
            f"plugin {plugin.name!r} was not loaded: {type(error).__name__}: {error} ({point.value}); {plugin.fix}"
        )
    except Exception as error:  # noqa: BLE001 - whatever a plugin's import raises, the others still run
        plugin.fix = f"mend {point.value}, or block it: -p no:{plugin.name}"
        plugin.problems.append(
            f"plugin {plugin.name!r} was not loaded: {type(error).__name__}: {error} ({point.value})"
        )


def _let_register(plugin: Plugin, into: Plugins) -> None:
    for kind in KINDS:
        hook = getattr(into.manager.hook, f"kdbench_register_{kind}s")
        for implementation in hook.get_hookimpls():
            if implementation.plugin_name != plugin.name:
                continue
            register = partial(_register, into.catalog, kind, plugin)
            try:
                implementation.function(*([register] if implementation.argnames else []))
            except Exception as error:  # noqa: BLE001 - as above
                place = f"{implementation.function.__module__}.{implementation.function.__name__}"
                plugin.problems.append(f"plugin {plugin.name!r} raised in {place}: {type(error).__name__}: {error}")


def _register(catalog: Catalog, kind: Kind, plugin: Plugin, name: str, target: Any, /, **metadata: Any) -> None:
    try:
        catalog.add(kind, name, target, plugin.name, metadata)
    except PluginError as error:
        plugin.problems.append(str(error).replace("\n  ", "; "))


def describe(error: BaseException) -> str:
    """An error as one line for a record: typed errors by their text, others with their type."""
    text = str(error).replace("\n  ", "; ") if isinstance(error, KdbenchError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
