"""Shared fixtures of the core's tests: distributions that look installed, and reloading of plugins."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import pytest

import vertebra
from vertebra._configuration import settings
from vertebra._configuration.settings import Settings
from vertebra._discovery import catalog, plugins
from vertebra._discovery.plugins import PluginRegistry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that puts a distribution on the path, as pip would: its metadata and one module."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def install_distribution(name, source="", *, version="1.0", entry_points=None, api=()):
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        folder = site / f"{module}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = ["[vertebra]", *(entry_points or [f"{name} = {module}"])]
        lines += ["[vertebra.api]", *(f"{number} = {module}" for number in api)]
        (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (folder / "RECORD").write_text("")
        importlib.invalidate_caches()
        return folder

    yield install_distribution
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def discover():
    """Returns a function that discovers plugins, with settings that can be met, and maps them by distribution."""

    def discover_plugins(**chosen):
        found = PluginRegistry(Settings(**chosen))
        found.check_settings("block", "prefer")
        return {plugin.owner.distribution: plugin for plugin in found.plugins}

    return discover_plugins


@pytest.fixture
def reload_plugins(install, monkeypatch):
    """Makes this process reload its settings and plugins, at once and after the test."""

    def forget():
        settings.settings.cache_clear()
        plugins.registry.cache_clear()
        catalog.clear_catalog()

    forget()
    yield forget
    forget()


# === Remote presets ===

SMALL, LARGE = b'{"a": 1}', bytes(range(256)) * 20


@pytest.fixture(scope="session")
def toys():
    """The module of the source that is in memory."""
    spec = importlib.util.spec_from_file_location("toy_remote", Path(__file__).with_name("toy_remote.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def configure(reload_plugins, tmp_path, monkeypatch):
    """Returns a function that sets variables and reloads the settings; the cache is a folder of this test."""

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.settings.cache_clear()

    monkeypatch.setattr("vertebra._cache.cached_source._listed", {})
    monkeypatch.setattr("vertebra._cache.transfer.retry.FIRST_WAIT", 0)
    set_variables(VERTEBRA_CACHE=str(tmp_path / "cache"), VERTEBRA_LOCKFILE=str(tmp_path / "vertebra.lock"))
    return set_variables


@pytest.fixture
def toy(configure, toys):
    """The only plugin's source, with one preset of two files at `toy://bert`."""
    configure(VERTEBRA_BLOCK="*")
    source = toys.ToyRemote()
    source.add("bert", {"config.json": SMALL, "model.bin": LARGE})
    module = types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    return source


@pytest.fixture
def cache(configure):
    """The cache."""
    from vertebra._cache.default_store import default_store

    return default_store()
