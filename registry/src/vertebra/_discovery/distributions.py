"""The installed distributions, and the pip commands that install others."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from importlib import metadata

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,98}")
_MOST_CHARACTERS = 100


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
