"""Plugins: loads entry points one at a time, records the owner of each plugin, and quarantines plugins that fail."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any

from vertebra import hookspecs
from vertebra._configuration.settings import Settings, settings
from vertebra._discovery.failures import remedy_for_failure
from vertebra._discovery.hook_functions import checked, hook_functions, policies
from vertebra._discovery.installed import find_installed, load
from vertebra._discovery.plugin import BUILTIN, Owner, Plugin, fatal, naming_slow_plugins, quarantine_on_error
from vertebra._system.log import log  # noqa: F401 (plugins log to it: it must have its filter before)
from vertebra.errors import (
    FailedPluginError,
    MissingPluginError,
    PluginError,
    SettingsError,
    UnknownNameError,
    VertebraError,
)

_OR_GLOB = "Correct the name, or write a glob, such as {0}*, for a plugin that may be missing"
_IF_MISSING = {"plugins": "Install the plugin, or correct the setting", "block": _OR_GLOB, "prefer": _OR_GLOB}
"""The remedy for a name that no installed plugin has, by setting."""


class PluginRegistry:
    """All installed plugins, loaded in order of name."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._modules: dict[str, object] = {}
        self._keys: dict[int, str] = {}  # of the modules, by identity: a module may define equality
        self.plugins: list[Plugin] = []
        self._load_builtin()
        self._load_installed()

    def implementations(self, hook: str) -> Iterator[tuple[Plugin, Callable[..., Any]]]:
        """Yields each plugin that implements a hook, with its function."""
        for plugin in self.plugins:
            if hook in plugin.implementations:
                yield plugin, plugin.implementations[hook]

    def add(self, module: object, name: str, replace: bool = False) -> Plugin:
        """Adds a module as a plugin that is not installed.

        A plugin that was added under the name, or from the module, is removed first if it failed or with `replace`.

        Raises:
            PluginError: such a plugin exists, and is not removed.
        """
        for other in self._same(module, name):
            if not other.added:
                raise PluginError(name, f"its module is that of the plugin {other.name!r}", "Add another module")
            if not replace and other.status == "loaded":
                problem = "it is added already" if other.name == name else f"its module is added as {other.name!r}"
                raise PluginError(name, problem, "Pass replace=True, or call vertebra.remove_plugin first")
            self._remove(other)
        owner = Owner(name, "", getattr(module, "__name__", type(module).__name__))
        return self._load(Plugin(name, owner, added=True), module)

    def remove(self, name: str) -> None:
        """Removes an added plugin.

        Raises:
            PluginError: the plugin is installed.
            UnknownNameError: there is no plugin of that name.
        """
        named = [plugin for plugin in self.plugins if plugin.name == name]
        added = [plugin for plugin in named if plugin.added]
        if named and not added:
            problem = "it is part of an installed distribution, and only added plugins can be removed"
            raise PluginError(name, problem, f"Uninstall it, or exclude it with VERTEBRA_BLOCK={name}")
        if not added:
            known = [plugin.name for plugin in self.plugins if plugin.added]
            raise UnknownNameError("added plugin", name, known, "vertebra.add_plugin adds one")
        self._remove(added[0])

    def _remove(self, plugin: Plugin) -> None:
        self.plugins = [other for other in self.plugins if other is not plugin]
        if _key(plugin) in self._modules:
            del self._keys[id(self._modules.pop(_key(plugin)))]

    def _same(self, module: object, name: str) -> list[Plugin]:
        """Returns the plugin that was added under a name, and the one that is made of a module."""
        key = self._keys.get(id(module))
        return [p for p in self.plugins if (p.added and p.name == name) or (key is not None and _key(p) == key)]

    def _load(self, plugin: Plugin, module: object) -> Plugin:
        self.plugins.append(plugin)
        with quarantine_on_error(plugin, "loading"):
            self._register(plugin, module)
        return plugin

    def check_settings(self, *lists: str) -> None:
        """Raises errors for settings that cannot be satisfied, instead of ignoring them.

        Args:
            *lists: The settings with lists of plugins to check.

        Raises:
            MissingPluginError: a list names a plugin that is not installed.
            FailedPluginError: a required plugin is excluded, incompatible or failed.
            SettingsError: a setting blocks the core.
        """
        problems = list(self.problems(*lists))
        for other in problems[1:]:
            problems[0].add_note(str(other))
        if problems:
            raise problems[0]

    def problems(self, *lists: str) -> Iterator[VertebraError]:
        """Yields the errors that `check_settings` would raise.

        A name without a wildcard must match a plugin, and in `plugins` that plugin must work, since it may have
        policies. A glob may match nothing.
        """
        for setting in dict.fromkeys(("plugins", *lists)):
            for names, origin in self._settings.lists(setting):
                for name in itertools.filterfalse(is_glob, dict.fromkeys(names)):
                    yield from self._problems_with(name, setting, origin)

    def _problems_with(self, name: str, setting: str, origin: str) -> Iterator[VertebraError]:
        yield from problems_with_name(name, setting, origin, self.plugins)
        for plugin in filter(lambda plugin: plugin.matches(name), self.plugins) if setting == "plugins" else ():
            if plugin.status != "loaded":
                yield FailedPluginError(plugin.name, origin, plugin.reason)

    def _load_builtin(self) -> None:
        from vertebra.builtin import plugin

        self._load(builtin_plugin(), plugin)

    def _load_installed(self) -> None:
        candidates, apis = find_installed()
        with naming_slow_plugins():
            for entry, plugin in candidates:
                self.plugins.append(plugin)
                if self._admit(plugin, apis.get(plugin.owner, {"1"})):
                    with quarantine_on_error(plugin, "importing"):
                        self._register(plugin, load(entry, plugin))

    def _admit(self, plugin: Plugin, apis: set[str]) -> bool:
        reason = exclusion_reason(plugin, self._settings)
        if reason is not None:
            plugin.status, plugin.reason = "blocked", reason
        elif plugin.owner.module in fatal:
            plugin.quarantine(f"{fatal[plugin.owner.module]}. {remedy_for_failure(plugin.owner.distribution)}")
        elif str(hookspecs.API_VERSION) not in apis:
            versions = ", ".join(sorted(apis))
            plugin.status = "incompatible"
            cause = f"it supports plugin API {versions}, but this is API {hookspecs.API_VERSION}"
            plugin.reason = f"{cause}. Install another version of {plugin.owner.distribution}, or of vertebra."
        return plugin.status == "loaded"

    def _register(self, plugin: Plugin, module: object) -> None:
        functions = hook_functions(module)
        plugin.implementations = policies(functions)  # kept even if the other hooks are invalid
        implementations = checked(plugin.name, module, functions)
        key = _key(plugin)
        if key in self._modules:
            raise PluginError(plugin.name, "a plugin with this name exists already", "Choose another name")
        other = self._keys.get(id(module))
        if other is not None:
            problem = f"its module is also that of the plugin {other.rpartition(':')[2]!r}"
            raise PluginError(plugin.name, problem, "Name each module in one entry point")
        self._modules[key], self._keys[id(module)] = module, key
        plugin.implementations = implementations
        plugin.hooks = sorted(implementations)
        if not plugin.hooks:
            raise PluginError(plugin.name, "it implements no hook", "Mark its functions with vertebra.hookimpl")


@functools.cache
def registry() -> PluginRegistry:
    """Returns the plugins of this process, loaded on the first call.

    Raises:
        MissingPluginError, FailedPluginError, SettingsError: as for `PluginRegistry.check_settings`.
    """
    plugins = PluginRegistry(settings())
    plugins.check_settings("block")
    return plugins


def examined() -> PluginRegistry:
    """Returns the plugins even if `registry` raises, for commands that show errors; other code uses `registry`."""
    try:
        return registry()
    except (MissingPluginError, FailedPluginError, SettingsError):
        return PluginRegistry(settings())


def exclusion_reason(plugin: Plugin, chosen: Settings) -> str | None:
    """Returns why the settings exclude a plugin, or None if every list of plugins admits it."""
    for allowed, origin in chosen.lists("plugins"):
        if not any(map(plugin.matches, allowed)):
            return f"not named in {origin}"
    for blocked, origin in chosen.lists("block"):
        if any(map(plugin.matches, blocked)):
            return f"named in {origin}"
    return None


def problems_with_name(name: str, setting: str, origin: str, known: Sequence[Plugin]) -> Iterator[VertebraError]:
    """Yields the errors for a name without a wildcard in a list of plugins that no plugin fulfils, or the core does.

    Args:
        name: The name.
        setting: The setting with the list.
        origin: The variable or file of the setting.
        known: The installed plugins.
    """
    matches = [plugin for plugin in known if plugin.matches(name)]
    if not matches:
        names = {name for plugin in known for name in (plugin.name, plugin.owner.distribution)}
        yield MissingPluginError(name, origin, names, _IF_MISSING[setting].format(name))
    if setting == "block" and any(plugin.owner.module == BUILTIN for plugin in matches):
        yield SettingsError(origin, f"{name!r} is part of the core and cannot be blocked")


def builtin_plugin() -> Plugin:
    """Returns the plugin of the core, before it is loaded."""
    return Plugin("builtin", Owner("vertebra", metadata.version("vertebra"), BUILTIN))


def is_glob(pattern: str) -> bool:
    """Returns whether a name in a setting is a glob, which may match several plugins, or none."""
    return any(character in pattern for character in "*?[")


def _key(plugin: Plugin) -> str:
    return f"{plugin.owner.distribution}:{plugin.name}"
