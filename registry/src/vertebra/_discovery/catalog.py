"""The contributions of all plugins, by kind and name; in a clash of names, no plugin gets the name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from vertebra._configuration.settings import settings
from vertebra._discovery.extras import install_command
from vertebra._discovery.plugins import Owner, Plugin, quarantine_on_error, registry
from vertebra.errors import NameClashError, PluginError, UnknownNameError
from vertebra.interfaces import PresetSource, Runtime
from vertebra.specs import BackboneSpec, PresetSpec, resolve_reference
from vertebra.strategies import LoraStrategy
from vertebra.tasks import CommandSpec, TaskSpec, TokenizerSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A contribution under one of its names."""

    name: str
    value: T
    owner: Owner
    plugin: str = ""
    """Name of the plugin that contributed it."""

    def matches(self, pattern: str) -> bool:
        """Returns whether a name or glob matches the entry's plugin, by name, distribution or module."""
        return fnmatchcase(self.plugin, pattern) or self.owner.matches(pattern)


class Catalog(Generic[T]):
    """The contributions of one kind."""

    def __init__(
        self, kind: str, entries: Iterable[Entry[T]], prefer: tuple[str, ...] = (), excluded: Iterable[str] = ()
    ) -> None:
        self.kind, self._excluded = kind, list(excluded)
        self._claims: dict[str, list[Entry[T]]] = {}
        for entry in entries:
            self._claims.setdefault(entry.name, []).append(entry)
        for name, claims in self._claims.items():
            self._claims[name] = _preferred(claims, prefer)

    def __contains__(self, name: str) -> bool:
        return name in self._claims

    def __iter__(self) -> Iterator[Entry[T]]:
        """Yields the entries without a clash, in order of name."""
        return (claims[0] for _, claims in sorted(self._claims.items()) if len(claims) == 1)

    def claims(self) -> Iterator[Entry[T]]:
        """Yields all entries in order of name, including those of clashing names."""
        return (claim for _, claims in sorted(self._claims.items()) for claim in claims)

    def clashes(self) -> dict[str, list[Owner]]:
        """Returns the clashing names, each with the plugins that claim it."""
        return {
            name: [claim.owner for claim in claims] for name, claims in sorted(self._claims.items()) if len(claims) > 1
        }

    def lookup(self, name: str, hint: str = "") -> Entry[T]:
        """Returns the entry of a name.

        Raises:
            UnknownNameError: no plugin contributes that name.
            NameClashError: several plugins claim the name.
        """
        claims = self._claims.get(name)
        if claims is None:
            raise UnknownNameError(self.kind, name, self._claims, hint, self._excluded, install_command(name))
        if len(claims) > 1:
            raise NameClashError(self.kind, name, [claim.owner for claim in claims])
        return claims[0]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of contribution: its hook, the type of the items that the hook returns, and the name of an item."""

    title: str
    plural: str
    hook: str
    contribution: type
    name: Callable[[Any], str]


BACKBONES = Kind("backbone", "backbones", "vertebra_backbones", BackboneSpec, lambda spec: spec.name)
SOURCES = Kind("preset source", "preset sources", "vertebra_preset_sources", PresetSource, lambda source: source.scheme)
STRATEGIES = Kind(
    "LoRA strategy", "LoRA strategies", "vertebra_lora_strategies", LoraStrategy, lambda strategy: strategy.name
)
RUNTIMES = Kind("runtime", "runtimes", "vertebra_runtimes", Runtime, lambda runtime: runtime.name)
TASKS = Kind("task", "tasks", "vertebra_tasks", TaskSpec, lambda spec: spec.name)
TOKENIZERS = Kind("tokenizer", "tokenizers", "vertebra_tokenizers", TokenizerSpec, lambda spec: spec.name)
COMMANDS = Kind("command", "commands", "vertebra_commands", CommandSpec, lambda spec: spec.name)
KINDS = (BACKBONES, SOURCES, STRATEGIES, RUNTIMES, TASKS, TOKENIZERS, COMMANDS)


@functools.cache
def catalog(kind: Kind) -> Catalog[Any]:
    """Returns the contributions of a kind, collected on the first call."""
    return Catalog(kind.title, _contributions()[kind], settings().names("prefer"), _excluded())


@functools.cache
def presets() -> Catalog[tuple[BackboneSpec, PresetSpec]]:
    """Returns the built-in presets of all installed backbones.

    Presets of backbones with clashing names are included, so that loading one raises an error with both plugins' names.
    """
    entries = [
        Entry(preset.name, (backbone.value, preset), backbone.owner, backbone.plugin)
        for backbone in catalog(BACKBONES).claims()
        for preset in backbone.value.presets
    ]
    return Catalog("preset", entries, settings().names("prefer"), _excluded())


def _excluded() -> list[str]:
    """Returns the plugins that the user's settings exclude, each with the setting."""
    return [f"{p.name} ({p.reason})" for p in registry().plugins if p.status == "blocked"]


def backbone_class(name: str) -> type:
    """Imports an installed backbone class by name.

    Raises:
        UnknownNameError: no plugin provides the class.
        NameClashError: several plugins provide it.
        PluginError: the class cannot be imported from the module that the plugin names.
    """
    entry: Entry[BackboneSpec] = catalog(BACKBONES).lookup(name)
    try:
        loaded: type = resolve_reference(entry.value.backbone)
    except Exception as error:
        problem = f"{entry.value.backbone} cannot be imported ({type(error).__name__}: {error})"
        raise PluginError(entry.owner.distribution, problem) from error
    return loaded


def clear_catalog() -> None:
    """Clears the collected contributions, so that the next lookup includes plugins that were added since."""
    _contributions.cache_clear()
    catalog.cache_clear()
    presets.cache_clear()


@functools.cache
def _contributions() -> dict[Kind, list[Entry[Any]]]:
    """Calls every registering hook, plugin by plugin; a plugin with a failing hook contributes nothing.

    Raises:
        MissingPluginError: the settings prefer a plugin that is neither installed nor added.
        FailedPluginError: the hook of a required plugin failed.
    """
    contributions: dict[Kind, list[Entry[Any]]] = {kind: [] for kind in KINDS}
    for plugin in registry().plugins:
        with quarantine_on_error(plugin):
            items = {k: _check(plugin, k, plugin.implementations[k.hook]()) for k in KINDS if k.hook in plugin.hooks}
            for kind, entries in items.items():
                contributions[kind] += entries
    registry().check_settings("prefer")
    return contributions


def _check(plugin: Plugin, kind: Kind, items: Any) -> list[Entry[Any]]:
    if not isinstance(items, list | tuple):
        raise PluginError(plugin.name, f"returned {items!r}, expected a list of {kind.contribution.__name__}")
    for item in items:
        if not isinstance(item, kind.contribution):
            raise PluginError(plugin.name, f"returned {item!r}, expected {kind.contribution.__name__} instances")
        if not isinstance(kind.name(item), str):
            raise PluginError(plugin.name, f"returned a {kind.title} named {kind.name(item)!r}, expected a string")
    return [Entry(kind.name(item), item, plugin.owner, plugin.name) for item in items]


def _preferred(claims: list[Entry[T]], prefer: tuple[str, ...]) -> list[Entry[T]]:
    for wanted in prefer if len(claims) > 1 else ():
        chosen = [claim for claim in claims if claim.matches(wanted)]
        if len(chosen) == 1:
            return chosen
    return claims
