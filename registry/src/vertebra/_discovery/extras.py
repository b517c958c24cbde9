"""Distributions that are not installed, by the extras in the metadata of the core, which itself names no plugin.

`extras.json` has the names in an extra that the extra's own name does not tell; a test compares it with the plugins.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_CORE = "vertebra"
_RUNTIMES = "runtimes"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,98}")
_MOST_CHARACTERS = 100
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
    try:
        requirements = metadata.requires(_CORE) or []
    except metadata.PackageNotFoundError:  # the package was copied without its metadata
        return None
    plugin = re.compile(rf"{_CORE}-{re.escape(word)}\b[^-;]*;.*\bextra\s*==\s*['\"]{re.escape(word)}['\"]")
    if not any(map(plugin.match, requirements)) or is_installed(f"{_CORE}-{word}"):
        return None
    return f"pip install '{_CORE}[{word}]'"


def extra_command(prefix: str) -> str | None:
    """Returns the pip command for an extra whose name begins so, such as `lora-` for strategies, or None."""
    extras: list[str] = []
    with contextlib.suppress(metadata.PackageNotFoundError):  # the package was copied without its metadata
        extras = metadata.metadata(_CORE).get_all("Provides-Extra") or []
    return next(filter(None, (_command(extra) for extra in extras if extra.startswith(prefix))), None)


def runtime_commands() -> list[str]:
    """Returns the pip command for each runtime that is not installed: the extra `runtimes` has all of them."""
    plugin = re.compile(rf"{_CORE}-([\w-]+)[^;]*;.*\bextra\s*==\s*['\"]{_RUNTIMES}['\"]")
    with contextlib.suppress(metadata.PackageNotFoundError):  # the package was copied without its metadata
        found = filter(None, map(plugin.match, metadata.requires(_CORE) or []))
        return sorted(filter(None, (install_command(match[1]) for match in found)))
    return []


def missing_requirements(distribution: str) -> list[str]:
    """Returns the distributions that an installed one requires, and that are not installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):  # a plugin that was added is no distribution
        requirements = [text for text in metadata.requires(distribution) or [] if "extra" not in text]
        names = [match[0] for text in requirements if (match := _NAME.match(text))]
        return [name for name in names if not is_installed(name)]
    return []


def installed_version(distribution: str) -> str | None:
    """Returns the version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def pip_install(versions: Mapping[str, str]) -> str:
    """Returns the pip command that installs distributions in the given versions."""
    pinned = [f"'{name}=={version}'" for name, version in versions.items()]
    return f"pip install {' '.join(pinned)}"


def is_release(distribution: object, version: object) -> bool:
    """Returns whether two texts of a file name a distribution and version that may be shown as part of a command."""
    return (
        isinstance(distribution, str)
        and isinstance(version, str)
        and len(distribution) <= _MOST_CHARACTERS
        and _NAME.fullmatch(distribution) is not None
        and _VERSION.fullmatch(version) is not None
    )


def is_installed(distribution: str) -> bool:
    """Returns whether a distribution is installed."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
