"""Compares the plugins that read a locked preset with the installed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vertebra._configuration.settings import settings
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._discovery.distributions import installed_version, pip_install
from vertebra._resolve.lockfile import LockedPreset, lockfile_path
from vertebra._system.user_warnings import warn
from vertebra.errors import LockError

if TYPE_CHECKING:
    from vertebra._resolve.preset_folder import PresetFolder

Differences = Mapping[str, tuple[str, str | None]]
"""The locked version and the installed one, or None if there is none, by distribution."""
_told: set[tuple[str, str]] = set()
"""Distributions and locked versions about which this process has warned."""


def differing_plugins(preset: LockedPreset) -> Differences | None:
    """Returns the distributions that read a preset when it was locked, and are installed in another version now.

    Returns None if the lockfile does not tell them, as an older one.
    """
    pairs = {name: (locked, installed_version(name)) for name, locked in preset.plugins.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]} if pairs else None


def are_allowed(differences: Differences | None) -> bool:
    """Returns whether a locked preset loads: with the setting `locked_plugins`, only locked versions may read it."""
    return not settings().locked_plugins or differences == {}


def check_plugins(requested: str, preset: LockedPreset) -> None:
    """Warns about plugins of another version than the locked one, once for each.

    Raises:
        LockError: the setting `locked_plugins` is on, and a version differs or the lockfile does not tell it.
    """
    differences = differing_plugins(preset)
    if not are_allowed(differences):
        raise _not_allowed(requested, differences)
    new = {name: pair for name, pair in (differences or {}).items() if (name, pair[0]) not in _told}
    if new:
        _told.update((name, pair[0]) for name, pair in new.items())
        warn(f"{requested!r} was locked with {shown(new)}, so its outputs may differ. {_remedy(requested, new)}.")


def check_architecture(folder: PresetFolder, name: str) -> None:
    """Refuses a locked preset whose architecture was not installed when it was locked, as its version is not locked.

    Raises:
        LockError: the setting `locked_plugins` is on, and the entry does not have the plugin of the architecture.
    """
    locked = folder.locked_plugins
    if locked is None or not settings().locked_plugins:
        return
    owners = [entry.owner for entry in catalog(BACKBONES).claims() if entry.name == name]
    if owners and not any(owner.distribution in locked or not owner.version for owner in owners):
        problem = f"{folder.requested!r} was locked without {owners[0].distribution}, which reads it"
        raise LockError(lockfile_path(), problem, f"Write its version with: vertebra lock --update {folder.requested}")


def _not_allowed(requested: str, differences: Differences | None) -> LockError:
    if differences is None:
        problem = (
            f"it does not tell which plugins read {requested!r}, as {settings().origin('locked_plugins')} requires"
        )
        return LockError(lockfile_path(), problem, f"Write them with: vertebra lock --update {requested}")
    problem = f"{requested!r} was locked with {shown(differences)}"
    return LockError(lockfile_path(), problem, _remedy(requested, differences))


def _remedy(requested: str, differences: Differences) -> str:
    install = pip_install({name: locked for name, (locked, _) in differences.items()})
    update = f"vertebra lock --update {requested}"
    return f"Install the locked versions with: {install}; or lock the installed ones with: {update}"


def shown(differences: Differences) -> str:
    """Returns differences of versions as a phrase."""
    phrases = (f"{name} {locked} ({now or 'none'} is installed)" for name, (locked, now) in differences.items())
    return " and ".join(phrases)
