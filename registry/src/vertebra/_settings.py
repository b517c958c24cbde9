"""What the user set: environment variables first, then the configuration file."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.errors import SettingsError

_LISTS = ("plugins", "block", "prefer")
_TEXTS = ("runtime",)


@dataclass(frozen=True, slots=True)
class Settings:
    """Which plugins may load, which one wins a clash, and the runtime to use."""

    plugins: tuple[str, ...] | None = None
    """If set, only these plugins load, and each must be there."""
    block: tuple[str, ...] = ()
    """Plugins that are not imported, by name, distribution or glob (`*` blocks all but the built-in one)."""
    prefer: tuple[str, ...] = ()
    """Plugins that win a clash of names, the first named first."""
    runtime: str | None = None
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
    return Settings(**values, origins=origins)


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
    if name in _TEXTS and isinstance(value, str):
        return value
    known = ", ".join((*(f"{n} (list of strings)" for n in _LISTS), *(f"{n} (string)" for n in _TEXTS)))
    raise SettingsError(str(path), f"{name} = {value!r} is not a setting; known are {known}")
