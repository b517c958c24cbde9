"""The contributions of all plugins, by kind and name.

In a clash of names, no plugin gets the name, unless it is a name of the core, which keeps it.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from vertebra._configuration.settings import settings
from vertebra._discovery import core_commands
from vertebra._discovery.checks import check_format, check_name, check_preset
from vertebra._discovery.distributions import missing_requirements
from vertebra._discovery.extras import extra_command, install_command
from vertebra._discovery.installed import frameworks, remedy_for
from vertebra._discovery.kinds import BACKBONES as BACKBONES
from vertebra._discovery.kinds import COMMAND_OPTIONS as COMMAND_OPTIONS
from vertebra._discovery.kinds import COMMANDS as COMMANDS
from vertebra._discovery.kinds import FORMATS as FORMATS
from vertebra._discovery.kinds import KINDS as KINDS
from vertebra._discovery.kinds import PRESETS as PRESETS
from vertebra._discovery.kinds import RUNTIMES as RUNTIMES
from vertebra._discovery.kinds import SIGNATURES as SIGNATURES
from vertebra._discovery.kinds import SOURCES as SOURCES
from vertebra._discovery.kinds import STRATEGIES as STRATEGIES
from vertebra._discovery.kinds import TASKS as TASKS
from vertebra._discovery.kinds import TOKENIZERS as TOKENIZERS
from vertebra._discovery.kinds import Kind as Kind
from vertebra._discovery.plugin import BUILTIN, Owner, Plugin, naming_slow_plugins, quarantine_on_error
from vertebra._discovery.plugins import registry
from vertebra._system.user_warnings import warn
from vertebra.errors import NameClashError, PluginError, PluginWarning, UnknownNameError, VertebraError, exception_text
from vertebra.errors.base import ended, shown
from vertebra.specs import BUILTIN_FORMATS, BackboneSpec, PresetSpec, resolve_reference
from vertebra.strategies import LoraStrategy

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

    def __init__(self, kind: str, entries: Iterable[Entry[T]], prefer: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self._claims: dict[str, list[Entry[T]]] = {}
        for entry in entries:
            self._claims.setdefault(entry.name, []).append(entry)
        for name, claims in self._claims.items():
            self._claims[name] = preferred(claims, prefer)

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
            blocked = plugins_that_are("blocked")
            install = install_command(name, self.kind)
            if self.kind == STRATEGIES.title and not install and (command := extra_command("lora-")):
                hint = hint or f"More of them are installed with: {command}"
            raise UnknownNameError(self.kind, name, self._claims, hint, blocked, install, failed())
        if len(claims) > 1:
            raise NameClashError(self.kind, name, [claim.owner for claim in claims])
        return claims[0]


_RESERVED = {FORMATS: set(BUILTIN_FORMATS), BACKBONES: {"Backbone"}, COMMANDS: core_commands.RESERVED}
"""Names of the core that are no contributions."""
_CORRECT = "Correct the hook, or update the plugin"
_warned: set[str] = set()
"""The warnings that this process has issued."""
_MOST_CHARACTERS = 120
"""Most characters of the reason why a plugin is not used, in errors on something else."""


@functools.cache
def catalog(kind: Kind) -> Catalog[Any]:
    """Returns the contributions of a kind, collected on the first call.

    The presets include those of architectures, also if the name of the architecture is not found or clashes: loading
    one of them is an error that says so.
    """
    entries = _contributions()[kind]
    if kind is PRESETS:
        entries = [*(preset for claim in catalog(BACKBONES).claims() for preset in _presets_of(claim)), *entries]
    return Catalog(kind.title, entries, settings().names("prefer"))


def presets() -> Catalog[PresetSpec]:
    """Returns the built-in presets of all plugins; each has the name of its backbone."""
    return catalog(PRESETS)


def presets_of(backbone: str | None) -> dict[str, PresetSpec]:
    """Returns the built-in presets of an installed architecture, or of all, by id."""
    backbones = {entry.name for entry in catalog(BACKBONES)} if backbone is None else {backbone}
    return {entry.name: entry.value for entry in presets() if entry.value.backbone in backbones}


def backbone_of(text: str) -> str | None:
    """Returns the name of the architecture of a built-in id; None for any other text.

    Raises:
        UnknownNameError: it is not installed; the error names the distribution to install, if it is known.
        NameClashError: several plugins claim the id, or the architecture.
    """
    if text not in presets():
        return None
    entry = presets().lookup(text)
    name, distribution = entry.value.backbone, entry.owner.distribution
    hint = ""
    if name not in catalog(BACKBONES):
        missing = missing_requirements(distribution)
        requires = f", which requires {' and '.join(missing)} (not installed)" if missing else ""
        needs = f"It is the backbone of the preset {text!r} of {distribution}{requires}"
        hint = f"{needs}. Install the plugin that provides it"
    return catalog(BACKBONES).lookup(name, hint).name


@functools.cache
def identifiers(format: str) -> Catalog[BackboneSpec]:
    """Returns the architectures that read a format, by the names that configs of the format have for them."""
    entries = [
        Entry(identifier, claim.value, claim.owner, claim.plugin)
        for claim in catalog(BACKBONES).claims()
        if format in claim.value.formats
        for identifier in dict.fromkeys(claim.value.formats[format].identifiers)
    ]
    first = {entry.name for entry in entries if not entry.value.fallback}
    entries = [entry for entry in entries if entry.name not in first or not entry.value.fallback]
    return Catalog(f"{format} architecture", entries, settings().names("prefer"))


def without_fallbacks(entries: list[Entry[BackboneSpec]]) -> list[Entry[BackboneSpec]]:
    """Returns the architectures that are no fallback, or all if each of them is one."""
    return [entry for entry in entries if not entry.value.fallback] or entries


@functools.cache
def peft_methods() -> Catalog[LoraStrategy]:
    """Returns the LoRA strategies by the methods of PEFT that they compute; the core's methods stay with the core.

    The name of a method is its `peft_type` or, for a variant of LoRA, that of `lora_variant`.
    """
    entries = []
    for entry in catalog(STRATEGIES):
        method, fields = entry.value.peft_method, entry.value.peft_fields
        names = ([] if method is None else [method.name]) + ([] if fields is None else [lora_variant(fields)])
        entries += [replace(entry, name=name) for name in names]
    core = {entry.name for entry in entries if entry.owner.module == BUILTIN}
    allowed = [entry for entry in entries if entry.owner.module == BUILTIN or entry.name not in core]
    return Catalog("method of PEFT", allowed, settings().names("prefer"))


def lora_variant(fields: Mapping[str, bool]) -> str:
    """Returns the name of a variant of LoRA: the fields of PEFT's config that are on."""
    return " and ".join(sorted(field for field, on in fields.items() if on)) or "plain LoRA"


def known_formats(spec: BackboneSpec) -> list[str]:
    """Returns the foreign formats of an architecture that are built in or contributed by an installed plugin."""
    return [name for name in spec.formats if name in BUILTIN_FORMATS or name in catalog(FORMATS)]


def clashes() -> Iterator[tuple[str, str, list[str]]]:
    """Yields the kind and the name of each clash, and the contributions that claim the name."""
    for kind in KINDS:
        for name, owners in catalog(kind).clashes().items():
            yield kind.title, name, list(map(str, owners))
    for name, owners in peft_methods().clashes().items():
        yield peft_methods().kind, name, list(map(str, owners))
    for format in (*BUILTIN_FORMATS, *(entry.name for entry in catalog(FORMATS))):
        readers = identifiers(format)
        for name in readers.clashes():
            yield readers.kind, name, [f"{e.value.name} of {e.owner}" for e in readers.claims() if e.name == name]


def plugins_that_are(*statuses: str) -> list[str]:
    """Returns the plugins of a status, each with the reason."""
    found = [plugin for plugin in registry().plugins if plugin.status in statuses]
    return [f"{p.name} ({textwrap.shorten(p.reason, _MOST_CHARACTERS, placeholder=' …').rstrip('.')})" for p in found]


def failed() -> list[str]:
    """Returns the installed plugins that cannot be used, each with the reason."""
    return plugins_that_are("failed", "incompatible")


def _presets_of(backbone: Entry[BackboneSpec]) -> Iterator[Entry[PresetSpec]]:
    for preset in backbone.value.presets:
        yield Entry(preset.name, replace(preset, backbone=backbone.name), backbone.owner, backbone.plugin)


def imported(entry: Entry[Any], reference: str) -> Any:
    """Imports the object of a reference; raises PluginError if the module that the plugin names has none."""
    try:
        return resolve_reference(reference)
    except VertebraError:  # which says more than that the import failed
        raise
    except Exception as error:
        problem = f"{reference} cannot be imported ({exception_text(error)})"
        raise PluginError(entry.owner.distribution, problem) from error


def clear_catalog() -> None:
    """Clears the collected contributions, so that the next lookup includes plugins that were added since."""
    _contributions.cache_clear()
    catalog.cache_clear()
    identifiers.cache_clear()
    peft_methods.cache_clear()


@functools.cache
def _contributions() -> dict[Kind, list[Entry[Any]]]:
    """Calls every registering hook, plugin by plugin; a plugin with a failing hook contributes nothing.

    Raises:
        MissingPluginError: the settings prefer a plugin that is neither installed nor added.
        FailedPluginError: the hook of a required plugin failed.
    """
    contributions: dict[Kind, list[Entry[Any]]] = {kind: [] for kind in KINDS}
    plugins = registry().plugins
    with naming_slow_plugins():
        for plugin in plugins:  # the core's own is the first
            for kind, entries in _collect(plugin).items():
                contributions[kind] += _without_names_of_the_core(plugin, kind, entries, contributions[kind])
    registry().check_settings("prefer")
    _report_imports(plugins, frameworks(entry.name for entry in contributions[RUNTIMES]))
    _warn_of_problems(plugins)
    return contributions


def _collect(plugin: Plugin) -> dict[Kind, list[Entry[Any]]]:
    """Returns what a plugin contributes; nothing if one of its hooks fails."""
    items: dict[Kind, list[Entry[Any]]] = {}
    with quarantine_on_error(plugin, "calling the hooks of"):
        items |= {k: _check(plugin, k, plugin.implementations[k.hook]()) for k in KINDS if k.hook in plugin.hooks}
    return items


def _without_names_of_the_core(
    plugin: Plugin, kind: Kind, entries: list[Entry[Any]], others: list[Entry[Any]]
) -> list[Entry[Any]]:
    """Returns the entries of a plugin that are not under a name of the core, and reports the others."""
    if plugin.owner.module == BUILTIN:
        return entries
    names = {entry.name for entry in others if entry.owner.module == BUILTIN} | _RESERVED.get(kind, set())
    for name in sorted(names & {entry.name for entry in entries}):
        plugin.report(f"its {kind.title} {name!r} is not used: that is a name of the core")
    return [entry for entry in entries if entry.name not in names]


def _report_imports(plugins: Iterable[Plugin], packages: set[str]) -> None:
    """Records the rule that plugins break whose entry modules import a framework."""
    for plugin in plugins:
        names = sorted(plugin.imported & packages)
        if names:
            named = "keras" if "keras" in names else " and ".join(names)  # Keras itself imports others
            cost = f"its entry module imports {named}: every command waits for it, and the runtime cannot be chosen"
            plugin.report(f"{cost}. {remedy_for(plugin.hooks)}")


def _warn_of_problems(plugins: Iterable[Plugin]) -> None:
    """Warns once in a process of each plugin that failed, or that breaks a rule."""
    for plugin in plugins:
        is_unused = plugin.status in ("failed", "incompatible") and not plugin.added
        unused = [f"is not used: {plugin.reason}"] if is_unused else []
        for problem in (*unused, *plugin.problems):
            text = f"plugin {plugin.name} of {plugin.owner.distribution} {problem}"
            if text not in _warned:
                _warned.add(text)
                warn(ended(text), PluginWarning)


def _check(plugin: Plugin, kind: Kind, items: Any) -> list[Entry[Any]]:
    if not isinstance(items, list | tuple):
        problem = f"{kind.hook}() returned {shown(items)}, expected a list of {kind.contribution.__name__}"
        raise PluginError(plugin.name, problem, _CORRECT)
    for item in items:
        if not isinstance(item, kind.contribution):
            problem = f"{kind.hook}() returned {shown(item)} in its list, expected a {kind.contribution.__name__}"
            raise PluginError(plugin.name, problem, _CORRECT)
        _check_item(plugin, kind, item)
    return [Entry(kind.name(item), item, plugin.owner, plugin.name) for item in items]


def _check_item(plugin: Plugin, kind: Kind, item: Any) -> None:
    check_name(plugin.name, kind.title, item, kind.name)
    if kind is FORMATS:
        check_format(plugin.name, item)
    if kind is PRESETS:
        check_preset(plugin.name, item)


def preferred(claims: list[Entry[T]], prefer: tuple[str, ...]) -> list[Entry[T]]:
    """Returns the one claim of a plugin that the settings prefer, or all claims if none is preferred."""
    for wanted in prefer if len(claims) > 1 else ():
        chosen = [claim for claim in claims if claim.matches(wanted)]
        if len(chosen) == 1:
            return chosen
    return claims


class BuiltInPresets:
    """The attribute `presets` of a backbone class: its built-in presets; for the base class, those of all classes."""

    def __get__(self, instance: object, owner: type) -> Mapping[str, PresetSpec]:
        return presets_of(None if owner.__name__ == "Backbone" else owner.__name__)
