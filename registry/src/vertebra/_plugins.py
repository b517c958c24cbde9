"""Discovery: loads entry points one at a time, knows who owns what, and isolates a plugin that fails."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from vertebra import hookspecs
from vertebra._settings import Settings, settings
from vertebra.errors import FailedPluginError, MissingPluginError, PluginError, VertebraError

GROUP = "vertebra"
API_GROUP = "vertebra.api"
BUILTIN = "vertebra.builtin.plugin"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who contributed something."""

    distribution: str
    version: str
    module: str

    def matches(self, pattern: str) -> bool:
        """Says whether a name or glob means this distribution; `Acme_Tools` and `acme-tools` are one."""
        return fnmatchcase(_canonical(self.distribution), _canonical(pattern))

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.module})".replace("  ", " ")


@dataclass(slots=True)
class Plugin:
    """A plugin that is installed, and what became of it."""

    name: str
    owner: Owner
    status: str = "loaded"
    """`loaded`, `failed`, `blocked` or `incompatible`."""
    reason: str = ""
    hooks: list[str] = field(default_factory=list)
    implementations: dict[str, Callable[..., Any]] = field(default_factory=dict, repr=False)

    def matches(self, pattern: str) -> bool:
        """Says whether a name or glob of the settings means this plugin."""
        return fnmatchcase(self.name, pattern) or self.owner.matches(pattern)

    def quarantine(self, reason: str) -> None:
        """Takes everything that this plugin contributes out of use; its policies stay."""
        self.status, self.reason = "failed", reason
        self.implementations = {n: hook for n, hook in self.implementations.items() if n in hookspecs.POLICY_HOOKS}
        self.hooks = sorted(self.implementations)


class PluginRegistry:
    """All installed plugins, loaded in order of name."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self._load_builtin()
        self._load_installed()

    def implementations(self, hook: str) -> Iterator[tuple[Plugin, Callable[..., Any]]]:
        """Yields each plugin that implements a hook, with its function."""
        for plugin in self.plugins:
            if hook in plugin.implementations:
                yield plugin, plugin.implementations[hook]

    def add(self, module: object, name: str, owner: Owner) -> Plugin:
        """Adds a plugin that is already imported."""
        plugin = Plugin(name, owner)
        self.plugins.append(plugin)
        with quarantining(plugin):
            self._register(plugin, module)
        return plugin

    def _load_builtin(self) -> None:
        from vertebra.builtin import plugin

        self.add(plugin, "builtin", Owner("vertebra", metadata.version("vertebra"), BUILTIN))

    def _load_installed(self) -> None:
        candidates, apis = find_installed()
        self._check_wanted([plugin for _, plugin in candidates])
        for entry, plugin in candidates:
            self.plugins.append(plugin)
            if self._admit(plugin, apis.get(plugin.owner, {"1"})):
                with quarantining(plugin):
                    self._register(plugin, _load(entry))
                self._check_asked_for(plugin)

    def _check_wanted(self, installed: list[Plugin]) -> None:
        for wanted in self._settings.plugins or ():
            if not any(plugin.matches(wanted) for plugin in installed):
                names = [plugin.name for plugin in installed]
                raise MissingPluginError(wanted, self._settings.origin("plugins"), names)

    def _check_asked_for(self, plugin: Plugin) -> None:
        named = self._settings.plugins or ()
        if plugin.status == "failed" and (plugin.name in named or plugin.owner.distribution in named):
            raise FailedPluginError(plugin.name, self._settings.origin("plugins"), plugin.reason)

    def _admit(self, plugin: Plugin, apis: set[str]) -> bool:
        allowed = self._settings.plugins
        if allowed is not None and not any(plugin.matches(pattern) for pattern in allowed):
            plugin.status, plugin.reason = "blocked", f"not named in {self._settings.origin('plugins')}"
        elif any(plugin.matches(pattern) for pattern in self._settings.block):
            plugin.status, plugin.reason = "blocked", f"named in {self._settings.origin('block')}"
        elif str(hookspecs.API_VERSION) not in apis:
            versions = ", ".join(sorted(apis))
            plugin.status = "incompatible"
            plugin.reason = f"written for plugin API {versions}; this is API {hookspecs.API_VERSION}"
        return plugin.status == "loaded"

    def _register(self, plugin: Plugin, module: object) -> None:
        _check_spelling(plugin, module)
        key = f"{plugin.owner.distribution}:{plugin.name}"
        if self._manager.has_plugin(key):
            raise PluginError(plugin.name, "a plugin of this name is there already", "Choose another name")
        try:
            self._manager.register(module, key)
            self._manager.check_pending()
        except Exception:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            raise
        for caller in self._manager.get_hookcallers(module) or ():
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module:
                    plugin.implementations[caller.name] = implementation.function
        plugin.hooks = sorted(plugin.implementations)
        if not plugin.hooks:
            raise PluginError(plugin.name, "it implements no hook", "Mark its functions with vertebra.hookimpl")


@functools.cache
def registry() -> PluginRegistry:
    """Returns the plugins of this process, loaded on the first call."""
    return PluginRegistry(settings())


@contextlib.contextmanager
def quarantining(plugin: Plugin) -> Iterator[None]:
    """Runs a plugin's own code: what it prints goes to stderr, and whatever it raises takes it, alone, out of use."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except VertebraError as error:
        plugin.quarantine(str(error))
    except BaseException as error:  # SystemExit, too: a plugin must not end the process
        plugin.quarantine(f"{type(error).__name__}: {error}".removesuffix(": "))


def _check_spelling(plugin: Plugin, module: object) -> None:
    """Finds functions that look like hooks and are not: without the marker they would never be called."""
    for name in dir(module) if isinstance(module, ModuleType) else ():
        value = getattr(module, name)
        if name.startswith("vertebra_") and callable(value) and not hasattr(value, "vertebra_impl"):
            raise PluginError(plugin.name, f"{name}() lacks the hookimpl marker", "Decorate it with vertebra.hookimpl")


def find_installed() -> tuple[list[tuple[metadata.EntryPoint, Plugin]], dict[Owner, set[str]]]:
    """Returns the plugins that entry points name, and the API versions that each declares, importing none of them."""
    entries = metadata.entry_points()
    read = functools.cache(_name_and_version)
    apis: dict[Owner, set[str]] = {}
    for entry in entries.select(group=API_GROUP):
        apis.setdefault(Owner(*read(entry.dist), _module(entry)), set()).add(entry.name)
    found = [
        (entry, Plugin(entry.name, Owner(*read(entry.dist), _module(entry)))) for entry in entries.select(group=GROUP)
    ]
    return sorted(found, key=lambda pair: (pair[1].name, pair[1].owner.distribution)), apis


def _name_and_version(distribution: metadata.Distribution | None) -> tuple[str, str]:
    """Reads both at once: each access to a distribution's metadata parses the file again."""
    if distribution is None:
        return "unknown", ""
    fields = distribution.metadata  # an installation that was interrupted may have none
    name, version = (fields[key] if key in fields else "" for key in ("Name", "Version"))  # noqa: SIM401 (it has no get)
    return name or "unknown", version


def _module(entry: metadata.EntryPoint) -> str:
    """Unlike `entry.module`, this does not fail on what cannot be a module: that is found when it is loaded."""
    return entry.value.partition(":")[0].strip()


def _load(entry: metadata.EntryPoint) -> object:
    if not entry.pattern.match(entry.value):
        raise PluginError(entry.name, f"its entry point refers to {entry.value!r}, which cannot be a module")
    return entry.load()


def _canonical(name: str) -> str:
    """Returns a distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
