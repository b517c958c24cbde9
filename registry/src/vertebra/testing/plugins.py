"""The suite of every plugin; the suites of the kinds derive from it."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from types import ModuleType

import pytest

from vertebra._api import add_plugin
from vertebra._discovery.catalog import KINDS, catalog
from vertebra._discovery.plugin import Plugin
from vertebra._discovery.plugins import registry
from vertebra._discovery.runtimes import framework_names
from vertebra.testing.network import EVENTS
from vertebra.testing.processes import noticed_on_import
from vertebra.testing.rules import rule


class PluginSuite:
    """Tests of a plugin. Give the subclass a name that pytest collects, and define the fixture `entry_module`.

    The suites of the kinds derive from this one, and find the entry module of an installed plugin themselves.
    """

    # === Fixtures of a subclass ===

    @pytest.fixture
    def entry_module(self) -> str:
        """Name of the module that the entry point of the plugin names."""
        pytest.skip("the `entry_module` fixture is not defined")

    @pytest.fixture
    def light_references(self) -> Sequence[str]:
        """References to code that must not import a framework, either, because commands run it."""
        return ()

    # === Fixtures of the suite ===

    @pytest.fixture
    def tested_modules(self, request: pytest.FixtureRequest) -> set[str]:
        """Names of the modules that the module of the test has imported, or imported something from."""
        values = vars(request.module).values()
        names = {
            value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "") for value in values
        }
        return {name for name in names if isinstance(name, str)}

    # === Rules ===

    @rule("PL-01")
    def test_the_entry_module_imports_no_framework(self, entry_module: str, light_references: Sequence[str]) -> None:
        """The entry module imports neither Keras nor a framework, nor does code that commands run; both are silent.

        They print nothing, and send no request.
        """
        printed, noticed = noticed_on_import(entry_module, light_references, framework_names(), EVENTS)
        assert printed == "", "the import prints"
        assert noticed == [], "the import of a framework, or a request"

    @rule("PL-02")
    def test_the_plugin_is_accepted(self, entry_module: str) -> None:
        """The core accepts the plugin with everything that its hooks return, and reports no problem."""
        for kind in KINDS:
            catalog(kind)  # calls the hooks
        (plugin,) = (plugin for plugin in registry().plugins if plugin.owner.module == entry_module)
        if plugin.status != "loaded":
            pytest.fail(_not_used(plugin))
        assert plugin.problems == []


def use_plugin(entry_module: str) -> None:
    """Adds a plugin to this process, a new one, unless it is installed."""
    if entry_module not in {plugin.owner.module for plugin in registry().plugins}:
        add_plugin(importlib.import_module(entry_module), "under-test")


def entry_module_of(hook: str, name: str, tested_modules: Collection[str] = ()) -> str:
    """Returns the entry module of the plugin that contributes a name through a hook.

    If none does, the test fails with the reason if one of the tested modules is of an installed plugin that cannot be
    used, and is skipped if not.
    """
    (kind,) = (kind for kind in KINDS if kind.hook == hook)
    if name not in catalog(kind):
        fail_if_not_used(tested_modules)
        pytest.skip(f"no installed plugin contributes the {kind.title} {name!r}")
    return catalog(kind).lookup(name).owner.module


def fail_if_not_used(tested_modules: Collection[str]) -> None:
    """Fails the test with the reason if a module is of an installed plugin that cannot be used."""
    for plugin in registry().plugins:
        if plugin.status in ("failed", "incompatible") and any(_is_of(plugin, name) for name in tested_modules):
            pytest.fail(_not_used(plugin))


def _is_of(plugin: Plugin, module: str) -> bool:
    """Says whether a module is the entry module of a plugin, or one of them is in the package of the other."""
    names = (plugin.owner.module, module)
    return any(f"{one}.".startswith(f"{other}.") for one, other in (names, names[::-1]))


def _not_used(plugin: Plugin) -> str:
    return f"plugin {plugin.name} of {plugin.owner.distribution} is not used: {plugin.reason}"
