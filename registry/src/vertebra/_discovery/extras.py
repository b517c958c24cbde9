"""Distributions that are not installed, by the extras in the metadata of the core, which itself names no plugin."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from importlib import metadata

_CORE = "vertebra"
_RUNTIMES = "runtimes"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,98}")
_MOST_CHARACTERS = 100


def install_command(name: str) -> str | None:
    """Returns the pip command that installs the plugin for a name, or None if the core has no extra for it.

    An extra is for a name if it installs the plugin `vertebra-EXTRA`, which is not installed yet, and is the name in
    lower case, or the part of it before `Backbone` or `_`: a scheme, a runtime, an architecture, or a built-in id.
    """
    word = name.lower().removesuffix("backbone").partition("_")[0]
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
    return next(filter(None, (install_command(extra) for extra in extras if extra.startswith(prefix))), None)


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
