"""Everything that plugins contributed, by kind and name; a name that two plugins claim belongs to neither."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from vertebra._configuration.settings import settings
from vertebra._discovery.plugins import Owner, Plugin, quarantining, registry
from vertebra.errors import NameClashError, PluginError, UnknownNameError
from vertebra.interfaces import LoraStrategy, PresetSource, Runtime
from vertebra.specs import BackboneSpec, PresetSpec, resolve_reference

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
        """Returns whether a name or glob means its plugin, by name, distribution or module."""
        return fnmatchcase(self.plugin, pattern) or self.owner.matches(pattern)


class Catalog(Generic[T]):
    """The contributions of one kind."""

    def __init__(
        self, kind: str, entries: Iterable[Entry[T]], prefer: tuple[str, ...] = (), left_out: Iterable[str] = ()
    ) -> None:
        self.kind, self._left_out = kind, list(left_out)
        self._claims: dict[str, list[Entry[T]]] = {}
        for entry in entries:
            self._claims.setdefault(entry.name, []).append(entry)
        for name, claims in self._claims.items():
            self._claims[name] = _preferred(claims, prefer)

    def __contains__(self, name: str) -> bool:
        return name in self._claims

    def __iter__(self) -> Iterator[Entry[T]]:
        """Yields the entries that can be used, in order of name."""
        return (claims[0] for _, claims in sorted(self._claims.items()) if len(claims) == 1)

    def claims(self) -> Iterator[Entry[T]]:
        """Yields all entries in order of name, those of names that several plugins claim, too."""
        return (claim for _, claims in sorted(self._claims.items()) for claim in claims)

    def clashes(self) -> dict[str, list[Owner]]:
        """Returns the names that several plugins claim, with the claimants."""
        return {n: [c.owner for c in claims] for n, claims in sorted(self._claims.items()) if len(claims) > 1}

    def lookup(self, name: str, hint: str = "") -> Entry[T]:
        """Returns the entry of a name.

        Raises:
            UnknownNameError: nothing has that name.
            NameClashError: several plugins claim it.
        """
        claims = self._claims.get(name)
        if claims is None:
            raise UnknownNameError(self.kind, name, self._claims, hint, self._left_out)
        if len(claims) > 1:
            raise NameClashError(self.kind, name, [claim.owner for claim in claims])
        return claims[0]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of contribution: its hook, what the hook must return, and the name of each item."""

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
KINDS = (BACKBONES, SOURCES, STRATEGIES, RUNTIMES)


@functools.cache
def catalog(kind: Kind) -> Catalog[Any]:
    """Returns the contributions of a kind, collected on the first call."""
    return Catalog(kind.title, _contributions()[kind], settings().names("prefer"), _left_out())


@functools.cache
def presets() -> Catalog[tuple[BackboneSpec, PresetSpec]]:
    """Returns the built-in presets of all installed backbones.

    A backbone whose name is claimed twice keeps its presets here, so that loading one names both claimants.
    """
    entries = [
        Entry(preset.name, (backbone.value, preset), backbone.owner, backbone.plugin)
        for backbone in catalog(BACKBONES).claims()
        for preset in backbone.value.presets
    ]
    return Catalog("preset", entries, settings().names("prefer"), _left_out())


def _left_out() -> list[str]:
    """Returns the plugins that the user's settings leave out, each with the setting."""
    return [f"{p.name} ({p.reason})" for p in registry().plugins if p.status == "blocked"]


def backbone_class(name: str) -> type:
    """Imports an installed backbone class by name.

    Raises:
        UnknownNameError: no plugin provides it.
        NameClashError: several plugins do.
        PluginError: the plugin that provides it names what cannot be imported.
    """
    entry: Entry[BackboneSpec] = catalog(BACKBONES).lookup(name)
    try:
        found: type = resolve_reference(entry.value.backbone)
    except Exception as error:
        problem = f"{entry.value.backbone} cannot be imported ({type(error).__name__}: {error})"
        raise PluginError(entry.owner.distribution, problem) from error
    return found


def forget() -> None:
    """Forgets what was collected, so that the next lookup sees plugins that were added since."""
    _contributions.cache_clear()
    catalog.cache_clear()
    presets.cache_clear()


@functools.cache
def _contributions() -> dict[Kind, list[Entry[Any]]]:
    """Calls every registering hook, plugin by plugin: one whose hook fails contributes nothing at all.

    Raises:
        MissingPluginError: the settings prefer a plugin that is neither installed nor added.
        FailedPluginError: the hook of a required plugin failed.
    """
    found: dict[Kind, list[Entry[Any]]] = {kind: [] for kind in KINDS}
    for plugin in registry().plugins:
        with quarantining(plugin):
            items = {k: _check(plugin, k, plugin.implementations[k.hook]()) for k in KINDS if k.hook in plugin.hooks}
            for kind, entries in items.items():
                found[kind] += entries
    registry().check_settings("prefer")
    return found


def _check(plugin: Plugin, kind: Kind, items: Any) -> list[Entry[Any]]:
    if not isinstance(items, list | tuple):
        raise PluginError(plugin.name, f"returned {items!r}, expected a list of {kind.contribution.__name__}")
    for item in items:
        if not isinstance(item, kind.contribution):
            raise PluginError(plugin.name, f"returned {item!r}, expected {kind.contribution.__name__} instances")
        if not isinstance(kind.name(item), str):
            raise PluginError(plugin.name, f"returned a {kind.title} named {kind.name(item)!r}, expected a text")
    return [Entry(kind.name(item), item, plugin.owner, plugin.name) for item in items]


def _preferred(claims: list[Entry[T]], prefer: tuple[str, ...]) -> list[Entry[T]]:
    for wanted in prefer if len(claims) > 1 else ():
        chosen = [claim for claim in claims if claim.matches(wanted)]
        if len(chosen) == 1:
            return chosen
    return claims
