"""How to install a missing plugin: the extras in the metadata of the core, for the name that a user asked for.

The code names no plugin. `extras.json` has the names in an extra that the extra's own name does not tell, so that an
error can suggest a plugin that is not installed; a test compares it with the plugins.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from vertebra._discovery.distributions import is_installed

_CORE = "vertebra"
_RUNTIMES = "runtimes"
_MOST_OF_A_HANDLE = 1_000
_NAMES = Path(__file__).with_suffix(".json")


def install_command(name: str, kind: str = "") -> str | None:
    """Returns the pip command that installs the plugin for a name, or None if the core has no extra for it.

    An extra is for a name if it installs the plugin `vertebra-EXTRA`, which is not installed yet, and has the name
    among those of the kind in `extras.json`; or if it is the name in lower case, or the part of it before `Backbone` or
    `_`: a scheme, a runtime, an architecture, or a built-in id.

    Args:
        name: The name.
        kind: The title of the kind of contribution, such as `task`, or nothing.
    """
    word = names_in_extras(kind).get(name) or name.lower().removesuffix("backbone").partition("_")[0]
    return _command(word)


def names_in_extras(kind: str) -> dict[str, str]:
    """Returns the extra of each known name of a kind of contribution, such as `task`."""
    names: dict[str, str] = _known()["names"].get(kind, {})
    return names


def replacement(name: str) -> tuple[str, str | None] | None:
    """Returns the class to use instead of a class of another library, and the pip command that installs it, if any."""
    for suffix, row in _known()["replacements"].items():
        if name.endswith(suffix):
            return row["class"], _command(row["extra"])
    return None


def handle_to_install(text: str) -> str | None:
    """Returns a sentence with the handle for the URL or name of a preset, and how to install its source, or None.

    An installed source suggests handles of its own, in more cases.
    """
    address = re.split("[?#]", text, maxsplit=1)[0]  # without a signature, which may be long
    for row in _known()["handles"] if len(address) <= _MOST_OF_A_HANDLE else ():
        match = re.fullmatch(row["pattern"], address, re.ASCII)
        handle = match and match.expand(row["handle"])
        command = handle and install_command(handle.partition(":")[0], "preset source")
        if command:
            return f"Did you mean {handle!r}? Install its source with: {command}"
    return None


@functools.cache
def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(_NAMES.read_text(encoding="utf-8"))
    return known


def _command(word: str) -> str | None:
    """Returns the pip command for the extra of this name, if it installs a plugin that is not installed."""
    plugin = re.compile(rf"{_CORE}-{re.escape(word)}\b[^-;]*;.*\bextra\s*==\s*['\"]{re.escape(word)}['\"]")
    if not any(map(plugin.match, _requirements())) or is_installed(f"{_CORE}-{word}"):
        return None
    return f"pip install '{_CORE}[{word}]'"


def extra_command(prefix: str) -> str | None:
    """Returns the pip command for an extra whose name begins so, such as `lora-` for strategies, or None."""
    extras: list[str] = []
    with contextlib.suppress(metadata.PackageNotFoundError, OSError):
        extras = metadata.metadata(_CORE).get_all("Provides-Extra") or []
    return next(filter(None, (_command(extra) for extra in extras if extra.startswith(prefix))), None)


def runtime_commands() -> list[str]:
    """Returns the pip command for each runtime that is not installed: the extra `runtimes` has all of them."""
    plugin = re.compile(rf"{_CORE}-([\w-]+)[^;]*;.*\bextra\s*==\s*['\"]{_RUNTIMES}['\"]")
    found = filter(None, map(plugin.match, _requirements()))
    return sorted(filter(None, (install_command(match[1]) for match in found)))


def _requirements() -> list[str]:
    """Returns the requirements of the core, or none if it was copied without its metadata, or that cannot be read."""
    with contextlib.suppress(metadata.PackageNotFoundError, OSError):
        return metadata.requires(_CORE) or []
    return []
