"""What the user set: environment variables first, then the configuration file."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._paths import full_path
from vertebra.errors import SettingsError

_LISTS = ("plugins", "block", "prefer", "cache_tiers")
_TEXTS = ("runtime", "cache", "lockfile")
_SWITCHES = ("offline", "locked")
_PATHS = {"cache", "cache_tiers", "lockfile"}
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Settings:
    """Which plugins may load, which one wins a clash, the runtime to use, and where presets come from."""

    plugins: tuple[str, ...] | None = None
    """If set, only these plugins load, and each must be there."""
    block: tuple[str, ...] = ()
    """Plugins that are not imported, by name, distribution or glob (`*` blocks all but the built-in one)."""
    prefer: tuple[str, ...] = ()
    """Plugins that win a clash of names, the first named first."""
    runtime: str | None = None
    cache: str | None = None
    """Folder of the cache, or None for the system's place."""
    cache_tiers: tuple[str, ...] = ()
    """Folders like a cache that are only read, and looked into first."""
    lockfile: str | None = None
    """Path of the lockfile, or None for `vertebra.lock` in the current folder."""
    offline: bool = False
    """Whether the network must not be used."""
    locked: bool = False
    """Whether presets must be those of the lockfile."""
    origins: Mapping[str, str] | None = None
    """Where each setting was found, for messages."""

    def origin(self, name: str) -> str:
        """Returns the variable or file that a setting came from."""
        return (self.origins or {}).get(name, f"VERTEBRA_{name.upper()}")


@functools.cache
def settings() -> Settings:
    """Returns the settings of this process, read once.

    Raises:
        SettingsError: the configuration file cannot be read, or holds something unknown, or `VERTEBRA_CONFIG` names
            one that is not there.
    """
    return read_settings(os.environ)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Reads settings from an environment and the configuration file that it names."""
    path = config_path(environment)
    values = _read_file(path, required=bool(environment.get("VERTEBRA_CONFIG")))
    origins = dict.fromkeys(values, str(path))
    for name in (*_LISTS, *_TEXTS):
        variable = f"VERTEBRA_{name.upper()}"
        text = environment.get(variable, "").strip()
        if text:
            values[name] = tuple(filter(None, (item.strip() for item in text.split(",")))) if name in _LISTS else text
            origins[name] = variable
    for name in _PATHS & values.keys():  # whoever changes the working folder later means the same places
        value = values[name]
        paths = [str(full_path(path)) for path in ([value] if isinstance(value, str) else value)]
        values[name] = paths[0] if isinstance(value, str) else tuple(paths)
    for name in _SWITCHES:
        variable = f"VERTEBRA_{name.upper()}"
        if variable in environment:
            values[name] = _switch(variable, environment[variable])
            origins[name] = variable
    return Settings(**values, origins=origins)


def _switch(variable: str, text: str) -> bool:
    """A switch that somebody meant to set must not be off because of how it was written."""
    word = text.strip().lower()
    if word not in (*_ON, *_OFF):
        raise SettingsError(variable, f"{text!r} is neither on nor off; write 1 or 0")
    return word in _ON


def config_path(environment: Mapping[str, str]) -> Path:
    """Returns where the configuration file is: `VERTEBRA_CONFIG`, or the XDG folder of the user's settings."""
    if environment.get("VERTEBRA_CONFIG"):
        return Path(environment["VERTEBRA_CONFIG"])
    home = environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 (users without one)
    base = environment.get("XDG_CONFIG_HOME") or Path(home, ".config")
    return Path(base, "vertebra", "config.toml")


def _read_file(path: Path, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # The home of a service may be /dev/null; a file that was asked for may hold a list of what to block.
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not required:
            return {}
        raise SettingsError(str(path), f"the file cannot be read ({error})") from error
    import tomllib  # only who has a file pays for it

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), f"it is not TOML ({error})") from error
    return {name: _check(path, name, value) for name, value in table.items()}


def _check(path: Path, name: str, value: object) -> object:
    if name in _LISTS and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if (name in _TEXTS and isinstance(value, str)) or (name in _SWITCHES and isinstance(value, bool)):
        return value
    kinds = {"list of strings": _LISTS, "string": _TEXTS, "true or false": _SWITCHES}
    known = ", ".join(f"{name} ({kind})" for kind, names in kinds.items() for name in names)
    raise SettingsError(str(path), f"{name} = {value!r} is not a setting; known are {known}")
