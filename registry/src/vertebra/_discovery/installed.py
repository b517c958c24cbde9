"""Installed plugins: finds entry points, and imports them one at a time."""

from __future__ import annotations

import functools
import re
import sys
import traceback
from collections.abc import Iterable
from importlib import metadata

from vertebra._discovery.plugin import Owner, Plugin
from vertebra.errors import PluginError, exception_text

GROUP = "vertebra"
API_GROUP = "vertebra.api"
NO_FRAMEWORK = (
    "An entry module must not import a framework: import it inside the methods that need it, or let a contribution "
    "name the code that does, as in BackboneSpec(backbone='package.module:Class')"
)
"""The remedy for a plugin whose entry module imports a framework, if its hooks are not known."""
_INSIDE = "An entry module must not import a framework: import it inside the methods that need it"
_NAMED = {
    "vertebra_backbones",
    "vertebra_tasks",
    "vertebra_commands",
    "vertebra_command_options",
    "vertebra_tokenizers",
}
"""The hooks whose contributions name code."""

_NAME_FIELD, _VERSION_FIELD = (re.compile(rf"^{field}: (\S+)$", re.MULTILINE) for field in ("Name", "Version"))
_NOT_FRAMEWORKS = {"numpy"}
"""Backends of Keras that are also libraries, which may be imported on every runtime."""


def frameworks(runtimes: Iterable[str]) -> set[str]:
    """Returns the import names of Keras and of the frameworks of runtimes, whose import fixes the runtime."""
    return {"keras", *runtimes} - _NOT_FRAMEWORKS


def remedy_for(hooks: Iterable[str]) -> str:
    """Returns the remedy for a plugin with some hooks whose entry module imports a framework."""
    return _INSIDE if _NAMED.isdisjoint(hooks) else NO_FRAMEWORK


def find_installed() -> tuple[list[tuple[metadata.EntryPoint, Plugin]], dict[Owner, set[str]]]:
    """Returns the plugins of all entry points, and the API versions that each supports; imports none of them."""
    entries = metadata.entry_points()
    read = functools.cache(_name_and_version)
    apis: dict[Owner, set[str]] = {}
    for entry in entries.select(group=API_GROUP):
        apis.setdefault(Owner(*read(entry.dist), _module(entry)), set()).add(entry.name)
    installed = [
        (entry, Plugin(entry.name, Owner(*read(entry.dist), _module(entry)))) for entry in entries.select(group=GROUP)
    ]
    return sorted(installed, key=lambda pair: (pair[1].name, pair[1].owner.distribution)), apis


def _name_and_version(distribution: metadata.Distribution | None) -> tuple[str, str]:
    """Reads name and version together, without parsing the file, which has the whole README, if that is possible."""
    if distribution is None:
        return "unknown", ""
    header = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    names, versions = (pattern.findall(header) for pattern in (_NAME_FIELD, _VERSION_FIELD))
    if len(names) == len(versions) == 1:
        return names[0], versions[0]
    fields = distribution.metadata  # an interrupted installation may lack them
    name, version = (fields[key] if key in fields else "" for key in ("Name", "Version"))  # noqa: SIM401 (it has no get)
    return name or "unknown", version


def _module(entry: metadata.EntryPoint) -> str:
    """Returns the module of an entry point. Unlike `entry.module`, it accepts invalid names; loading reports those."""
    return entry.value.partition(":")[0].strip()


def load(entry: metadata.EntryPoint, plugin: Plugin) -> object:
    """Imports the module of an entry point, and records in the plugin what the import imported.

    Raises:
        PluginError: the entry point names no module, or Keras, which its entry module imports, failed.
    """
    if not entry.pattern.match(entry.value):
        raise PluginError(entry.name, f"its entry point refers to {entry.value!r}, which is not a valid module name")
    before = list(sys.modules)
    try:
        return entry.load()
    except Exception as error:
        if not _failed_in(error, "keras"):
            raise
        problem = f"its entry module imports keras, which failed ({exception_text(error)})"
        raise PluginError(entry.name, problem, NO_FRAMEWORK) from error
    finally:
        plugin.imported = frozenset(name for name in _added(before, list(sys.modules)) if "." not in name)


def _added(before: list[str], after: list[str]) -> Iterable[str]:
    """Returns the names that only the second list has; a comparison is faster than sets unless a name was removed."""
    return after[len(before) :] if after[: len(before)] == before else set(after).difference(before)


def _failed_in(error: Exception, package: str) -> bool:
    """Returns whether an error was raised in a package, or in code that it called."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == package for frame, _ in frames)
