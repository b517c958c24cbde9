"""Shows the settings with their origins, also if some are broken, and changes those of a configuration file."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._configuration import editing
from vertebra._configuration.config_file import (
    ENFORCED,
    LISTS,
    NUMBERS,
    PLUGIN_LISTS,
    SETTINGS,
    SWITCHES,
    TEXTS,
    checked,
    checked_rule,
    dangling_link,
    enforced_in,
    not_a_table,
    read_table,
)
from vertebra._configuration.settings import (
    Settings,
    check_folders,
    config_path,
    number,
    read_settings,
    switch,
)
from vertebra._system.atomic_save import replacing_file
from vertebra._system.folder_lock import folder_lock
from vertebra._system.user_paths import full_path, not_a_folder
from vertebra.errors import PresetSaveError, SettingsError

VARIABLE, USER, MACHINE, RULE, DEFAULT = "variable", "user", "machine", "enforced", "default"
"""The sources of a setting."""
_ABSOLUTE = ("cache", "cache_tiers", "signature_keys")


@dataclass(frozen=True, slots=True)
class InForce:
    """A setting as it is in force."""

    name: str
    value: Any
    """A tuple of strings, a string, a bool, or None."""
    source: str
    """One of the sources above."""
    origin: str | None
    """The variable or the path of the file; None for a default."""
    enforced: tuple[str, ...] | None = None
    """The list of plugins that the machine enforces in addition to that of `origin`, if it does."""

    @property
    def is_rule(self) -> bool:
        """Whether the machine enforces the value."""
        return self.source == RULE


@dataclass(frozen=True, slots=True)
class Change:
    """The result of a change of a configuration file."""

    name: str
    path: Path
    """The file; a link that leads to it stays a link."""
    before: Any
    """The former value in the file, of any type that TOML has, or None."""
    after: Any
    """The new value in the file, or None."""


def settings_in_force(environment: Mapping[str, str], machine: Path) -> tuple[list[InForce], list[SettingsError]]:
    """Returns all settings, and the errors of broken files and variables, whose settings are left out.

    Args:
        environment: The variables.
        machine: The machine's file.
    """
    problems: list[SettingsError] = []
    found = read_settings(environment, machine, problems)
    sources = {str(machine): MACHINE, str(config_path(environment)): USER, enforced_in(machine): RULE}
    return [_in_force(found, name, sources) for name in SETTINGS], problems


def _in_force(found: Settings, name: str, sources: Mapping[str, str]) -> InForce:
    value, origin = getattr(found, name), (found.origins or {}).get(name)
    source = DEFAULT if origin is None else sources.get(origin, VARIABLE)
    if name not in PLUGIN_LISTS or not found.is_enforced(name) or found.enforced is None:
        return InForce(name, value, source, origin)
    rule = getattr(found.enforced, name)
    if origin is None:
        return InForce(name, rule, RULE, found.enforced.origin(name), rule)
    return InForce(name, value if name == "plugins" else found.names(name), source, origin, rule)


def value_of(name: str, words: Sequence[str], origin: str) -> Any:
    """Returns the value that words of a command line give a setting, as the loader of the settings would read it.

    Names of plugins may be separated by commas, as in a variable. Paths become absolute, because the command and
    a later load may have different current folders; that of the lockfile is left as it is.

    Raises:
        SettingsError: the setting takes one value, or another kind of value.
    """
    if name in PLUGIN_LISTS:
        words = [item.strip() for word in words for item in word.split(",") if item.strip()]
    if not words or (name not in LISTS and len(words) > 1):
        raise SettingsError(origin, f"{name} takes {'values' if name in LISTS else 'one value'}, not {len(words)}")
    if not all(word.strip() for word in words):  # such as that of a shell variable that is not set
        raise SettingsError(origin, f"{name} is given a blank value", f"To remove it: vertebra config unset {name}")
    if name in _ABSOLUTE:
        words = [str(full_path(word)) for word in words]
    if any(not word.isprintable() for word in words):
        raise SettingsError(origin, f"{name} = {list(words)!r} has characters that cannot be printed")
    value = checked(origin, name, _typed(name, words, origin))
    if name in _ABSOLUTE:
        check_folders(Settings(**{name: value}, origins={name: origin}))
    for key in value if name == "signature_keys" else ():
        if not Path(key).is_file():
            raise SettingsError(origin, f"{name}: {key} is not a file, and so no key", "Check the path")
    return value


def _typed(name: str, words: Sequence[str], origin: str) -> Any:
    """Returns words as the value of a setting in a file."""
    if name in SWITCHES:
        return switch(origin, words[0])
    if name in NUMBERS:
        return number(origin, words[0])
    return words[0] if name in TEXTS else list(words)


def set_in_file(path: Path, name: str, value: Any, rule: bool = False) -> Change:
    """Gives a setting a value in a configuration file, which is created if it does not exist.

    Args:
        path: The file.
        name: The setting.
        value: The value, as `value_of` returns it.
        rule: Whether to write it into the table of enforced settings.

    Raises:
        SettingsError: the file is not TOML, its layout allows no safe change, or it cannot be written.
    """
    if rule:
        checked_rule(enforced_in(path), name, value)
    after = list(value) if isinstance(value, tuple) else value
    with contextlib.suppress(OSError):  # the write reports it
        path.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(_target(path).parent):
        before = _table(path, rule).get(name)
        if type(before) is not type(after) or before != after:  # 1 equals True, and is no switch
            text = editing.with_setting(_text(path), ENFORCED if rule else "", name, value)
            _write(path, text, f"write there: {name} = {editing.toml(value)}")
    return Change(name, _target(path), before, after)


def unset_in_file(path: Path, name: str, rule: bool = False) -> Change:
    """Removes a setting from a configuration file, also one that the loader refuses; see `set_in_file`.

    Raises:
        SettingsError: as for `set_in_file`, or the file does not have the setting.
    """
    with folder_lock(_target(path).parent):
        table = _table(path, rule)
        if name not in table:
            there = f"the file sets {', '.join(table)}" if table else "the file sets nothing"
            origin = enforced_in(path) if rule else str(path)
            raise SettingsError(origin, f"it does not set {name}", f"Note that {there}")
        _write(path, editing.without_setting(_text(path), ENFORCED if rule else "", name), f"remove {name} from it")
    return Change(name, _target(path), table[name], None)


def _table(path: Path, rule: bool) -> dict[str, Any]:
    table = read_table(path, required=False)
    rules = table.get(ENFORCED, {}) if rule else table
    if not isinstance(rules, dict):
        raise SettingsError(str(path), not_a_table(rules), f"Edit the file, and remove {ENFORCED} from it")
    return rules


def _text(path: Path) -> str:
    """Returns the text of a file that can be read, with its own line ends; empty if there is none."""
    return path.read_bytes().decode() if path.exists() else ""


def _target(path: Path) -> Path:
    """Returns the file to which a path leads, so that a link into a folder with settings stays a link."""
    return Path(os.path.realpath(path))


def _write(path: Path, text: str | None, by_hand: str) -> None:
    if text is None:
        raise SettingsError(str(path), "its layout allows no safe change", f"Edit the file, and {by_hand}")
    if dangling_link(path) is not None or (path.exists() and not stat.S_ISREG(path.stat().st_mode)):
        raise SettingsError(str(path), "it is not a regular file", "Set VERTEBRA_CONFIG to another path, or unset it")
    if problem := not_a_folder(path.parent):  # such as that of a user without a home folder
        raise SettingsError(str(path), problem, "Set VERTEBRA_CONFIG to the path of a file that you may write")
    try:
        with replacing_file(_target(path)) as stage:
            stage.write_bytes(text.encode())
    except PresetSaveError as error:
        remedy = "Free some space, or run the command as a user who may write the file"
        raise SettingsError(str(path), f"it cannot be written: {error.problem}", remedy) from error


def overriding(name: str, change: str, environment: Mapping[str, str], machine: Path) -> InForce | None:
    """Returns the setting in force if another source than the changed one decides it, or None.

    Args:
        name: The setting.
        change: The source that was changed, such as `USER`.
        environment: The variables.
        machine: The machine's file.
    """
    found = next(setting for setting in settings_in_force(environment, machine)[0] if setting.name == name)
    return None if found.source in (change, DEFAULT) else found
