"""Reads native presets of other versions of their architecture, in which arguments or weights had other names.

The plugin's `BackboneSpec` has the present version, and names the function that migrates older ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, TypeGuard

from vertebra._discovery import distributions
from vertebra._discovery.catalog import BACKBONES, Entry, catalog
from vertebra._discovery.plugin import Owner
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra._system.strict_json import read_json
from vertebra.errors import PluginError, PresetConfigError, UnknownNameError, VertebraError, exception_text
from vertebra.errors.base import shown
from vertebra.errors.names import failed_plugins
from vertebra.specs import BackboneSpec, resolve_reference

METADATA = "metadata.json"
WRITER = "plugin"
"""The field of the metadata that names the distribution of the class, and its version."""
_OF_EVERY_CLASS = ("name", "trainable", "dtype", "lora", "quantized")

Config = dict[str, Any]
Names = Mapping[str, str]
"""The present names of weights, or of layers and all below them, by their former names."""


def owner_of(backbone: str) -> Entry[BackboneSpec] | None:
    """Returns the catalog's entry of a class, or None if no plugin provides it, or several do."""
    claims = [entry for entry in catalog(BACKBONES).claims() if entry.name == backbone]
    return claims[0] if len(claims) == 1 else None


def writer_of(folder: PresetFolder) -> Owner | None:
    """Returns the plugin with whose class a native preset was written, or None if the preset does not say."""
    with contextlib.suppress(VertebraError, OSError):
        if METADATA in folder.names:
            writer = read_json(folder.fetch(METADATA)).get(WRITER)
            return Owner(writer["distribution"], writer["version"], "") if _is_owner(writer) else None
    return None


def installing(folder: PresetFolder, error: UnknownNameError) -> str:
    """Returns how to install the plugin that provides a preset's class."""
    if error.install:
        return f"Install the plugin that provides it with: {error.install}"
    writer = writer_of(folder)
    if writer is not None and not distributions.is_installed(writer.distribution):
        written = f"It was written with the plugin {writer.distribution} {writer.version}"
        return f"{written}; if you trust it, install it with: {pip_install(writer)}"
    if writer is not None and not error.suggestions:
        return (
            f"It was written with {writer.distribution}, which is installed and has no such class here: see its README"
        )
    similar = f" Installed with a similar name: {', '.join(error.suggestions)}." if error.suggestions else ""
    return f"Install the plugin that provides it.{similar}{failed_plugins(error.failed)}"


def migrate(folder: PresetFolder, backbone: str, config: Config, version: int) -> tuple[Config, Names]:
    """Returns a config in the present version of its class, and the new names of weights.

    Raises:
        PresetConfigError: the preset is of a version that the installed plugin cannot read.
        PluginError: the plugin's function failed.
    """
    entry = owner_of(backbone)
    if entry is None or entry.value.version == version:
        return config, {}
    if version > entry.value.version or entry.value.migrate is None:
        raise _unreadable(folder, entry, version)
    given = {name: value for name, value in config.items() if name not in _OF_EVERY_CLASS}
    arguments, names = _call(entry, given, version)
    others = {name: value for name, value in config.items() if name in _OF_EVERY_CLASS}
    return _with_new_paths(others, names) | arguments, names


def new_name(name: str, names: Names) -> str:
    """Returns the present name of a weight or layer: that of itself, or of the innermost layer around it."""
    outer, rest = name, ""
    while outer:
        if outer in names:
            return names[outer] + rest
        outer, _, last = outer.rpartition("/")
        rest = f"/{last}{rest}"
    return name


def _call(entry: Entry[BackboneSpec], arguments: Config, version: int) -> tuple[Config, Names]:
    reference = str(entry.value.migrate)
    try:
        found = resolve_reference(reference)(arguments, version)
    except VertebraError:
        raise
    except Exception as error:
        problem = f"{reference} failed, for arguments of version {version} ({exception_text(error)})"
        raise PluginError(entry.owner.distribution, problem) from error
    sound = isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(part, dict) for part in found)
    if not sound or not all(isinstance(text, str) for text in (*found[0], *found[1], *found[1].values())):
        expected = "a dict of arguments, and a dict of new names by former names"
        raise PluginError(entry.owner.distribution, f"{reference} returned {shown(found)}, expected {expected}")
    return found[0], found[1]


def _with_new_paths(config: Config, names: Names) -> Config:
    """Returns the part of a config that every class has, with the new paths of adapted and of quantised layers."""
    moved = dict(config)
    if isinstance(config.get("quantized"), Mapping):
        moved["quantized"] = {new_name(path, names): plan for path, plan in config["quantized"].items()}
    lora = config.get("lora")
    if isinstance(lora, Mapping) and isinstance(lora.get("layers"), Mapping):
        layers = {new_name(path, names): _with_new_lender(plan, names) for path, plan in lora["layers"].items()}
        trained = [new_name(weight, names) for weight in lora.get("trained", ())]
        moved["lora"] = {**lora, "layers": layers, "trained": trained}
    return moved


def _with_new_lender(plan: Any, names: Names) -> Any:
    lender = plan.get("shares") if isinstance(plan, Mapping) else None
    return {**plan, "shares": new_name(lender, names)} if isinstance(lender, str) else plan


def _unreadable(folder: PresetFolder, entry: Entry[BackboneSpec], version: int) -> PresetConfigError:
    writer, installed = writer_of(folder), entry.owner
    by = f", by {writer.distribution} {writer.version}" if writer else ""
    problem = f"it was written for version {version} of {entry.name}{by}, and the installed {installed} has version "
    problem += str(entry.value.version)
    if version > entry.value.version:
        least = f">={writer.version}" if writer and writer.distribution == installed.distribution else ""
        remedy = f"Update the plugin with: pip install --upgrade '{installed.distribution}{least}'"
        return config_error(folder, problem, remedy)
    remedy = f"Install the plugin that wrote it with: {pip_install(writer)}" if writer else "Install an older version"
    return config_error(folder, f"{problem}, without a function to migrate it", remedy)


def pip_install(writer: Owner) -> str:
    """Returns the pip command that installs a plugin in the version that wrote a preset."""
    return distributions.pip_install({writer.distribution: writer.version})


def _is_owner(writer: object) -> TypeGuard[dict[str, str]]:
    """Says whether a preset names a distribution and version that may be shown as part of a command."""
    return isinstance(writer, dict) and distributions.is_release(writer.get("distribution"), writer.get("version"))
