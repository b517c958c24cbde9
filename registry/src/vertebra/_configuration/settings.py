"""Settings: from environment variables, the user's and the machine's configuration files, and the enforced settings."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vertebra._configuration.config_file import (
    LISTS,
    NUMBERS,
    PATHS,
    PLUGIN_LISTS,
    SETTINGS,
    SWITCHES,
    checked,
    enforced_in,
    read_config,
    read_machine_config,
)
from vertebra._system.user_paths import full_path, not_a_folder
from vertebra.errors import SettingsError

PREFIX = "VERTEBRA_"
CONFIG = "VERTEBRA_CONFIG"
_SIMILAR = 0.8
"""Similarity from which a variable counts as a misspelled setting."""
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_MACHINE_CONFIGS = {
    "darwin": "/Library/Application Support/vertebra/config.toml",
    "win32": r"C:\ProgramData\vertebra\config.toml",
}
MACHINE_CONFIG = Path(_MACHINE_CONFIGS.get(sys.platform, "/etc/vertebra/config.toml"))
"""The machine's configuration file. No environment variable changes this path."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings: which plugins may load, which one wins a clash, the runtime to use, and the sources of presets.

    Enforced settings have replaced the user's values in every field except the lists of plugins: `lists` returns both
    lists of those.
    """

    plugins: tuple[str, ...] | None = None
    """If set, only these plugins load. A plugin listed by name must exist and work; a glob may match nothing."""
    block: tuple[str, ...] = ()
    """Plugins that are not imported, by name, distribution or glob (`*` blocks all except the built-in one)."""
    prefer: tuple[str, ...] = ()
    """Plugins that win a clash of names, in order of priority."""
    runtime: str | None = None
    cache: str | None = None
    """Folder of the cache, or None for the system's cache folder."""
    cache_tiers: tuple[str, ...] = ()
    """Cache tiers: read-only folders with the layout of a cache, searched first."""
    lockfile: str | None = None
    """Path of the lockfile, or None for `vertebra.lock` in the current folder."""
    offline: bool = False
    """Whether the network must not be used."""
    locked: bool = False
    """Whether presets must match the lockfile."""
    locked_plugins: bool = False
    """Whether a locked preset loads only with the versions of plugins that read it when it was locked."""
    require_signature: bool = False
    """Whether only presets load that one of `signature_keys` has signed."""
    signature_keys: tuple[str, ...] = ()
    """Paths of trusted public keys, and of certificates of trusted roots."""
    copy_weights: bool = False
    """Whether weights files are copied into memory instead of being mapped."""
    mesh_timeout: float = 30.0
    """Seconds for which a process of a mesh may be silent before the others raise an error."""
    origins: Mapping[str, str] | None = None
    """The variable or file of each setting, for messages."""
    enforced: Settings | None = None
    """The settings that the machine enforces, or None."""

    def origin(self, name: str) -> str:
        """Returns the variable or file that a setting came from."""
        return (self.origins or {}).get(name, f"{PREFIX}{name.upper()}")

    def lists(self, name: str) -> list[tuple[tuple[str, ...], str]]:
        """Returns a list of plugins as the machine enforces it and as the user set it, each with its origin."""
        layers = [layer for layer in (self.enforced, self) if layer is not None]
        return [(values, layer.origin(name)) for layer in layers if (values := getattr(layer, name)) is not None]

    def names(self, name: str) -> tuple[str, ...]:
        """Returns all values of a list of plugins, those that the machine enforces first."""
        return tuple(value for values, _ in self.lists(name) for value in values)

    def is_enforced(self, name: str) -> bool:
        """Returns whether the machine enforces a setting."""
        return self.enforced is not None and name in (self.enforced.origins or {})


@functools.cache
def settings() -> Settings:
    """Returns the settings of this process, read once.

    Raises:
        SettingsError: as for `read_settings`.
    """
    return read_settings(os.environ)


def read_settings(
    environment: Mapping[str, str], machine_config: Path | None = None, problems: list[SettingsError] | None = None
) -> Settings:
    """Reads settings. Enforced settings win, then variables, then the user's file, then the machine's file.

    Args:
        environment: The variables.
        machine_config: The machine's file, or None for `MACHINE_CONFIG`.
        problems: A list to which errors are added instead of being raised; a broken file or variable is left out. The
            caller shows the values in force, so no warning tells which ones have no effect.

    Raises:
        SettingsError: a file cannot be read or has an unknown setting; `VERTEBRA_CONFIG` names a missing file; a
            variable is misspelled or has an invalid value; the cache or a tier is not a folder.
    """
    with _collecting(problems):
        _refuse_misspelled(environment)
    machine, user = machine_config or MACHINE_CONFIG, config_path(environment)
    layers: list[tuple[str, dict[str, Any]]] = []
    rules = None
    with _collecting(problems):
        defaults, rules = read_machine_config(machine)
        layers.append((str(machine), defaults))
    with _collecting(problems):
        layers.append((str(user), read_config(user, required=bool(environment.get(CONFIG)))))
    for name in SETTINGS:
        with _collecting(problems):
            layers += [(variable_of(name), {name: value}) for value in _from_variable(name, environment)]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    result = Settings(**_with_full_paths(values), origins=origins)
    if rules is not None:
        enforced = Settings(**rules, origins=dict.fromkeys(rules, enforced_in(machine)))
        if problems is None:
            _tell_overridden(result, enforced)
        result = _enforce(result, enforced)
    with _collecting(problems):
        check_folders(result)
    return result


@contextlib.contextmanager
def _collecting(problems: list[SettingsError] | None) -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        if problems is None:
            raise
        problems.append(error)


def config_path(environment: Mapping[str, str]) -> Path:
    """Returns the path of the user's configuration file: `VERTEBRA_CONFIG`, or a file in the system's settings folder.

    That folder depends on the variables of this process, not on `environment`.
    """
    if environment.get(CONFIG):
        return Path(environment[CONFIG])
    import platformdirs  # slow; not needed to import vertebra

    try:
        folder = platformdirs.user_config_path("vertebra", appauthor=False)
    except RuntimeError:  # a user without a home folder has no file
        folder = Path(os.devnull, "vertebra")
    return folder / "config.toml"


def variable_of(name: str) -> str:
    """Returns the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def _from_variable(name: str, environment: Mapping[str, str]) -> Iterator[Any]:
    """Yields the value of a setting's variable, if it is set; a blank list or text counts as not set."""
    variable = variable_of(name)
    text = environment.get(variable, "").strip()
    if name in SWITCHES and variable in environment:
        yield switch(variable, text)
    elif text and name in NUMBERS:
        yield checked(variable, name, number(variable, text))
    elif text:
        items = (item.strip() for item in text.split(","))
        yield tuple(filter(None, items)) if name in LISTS else text


def switch(variable: str, text: str) -> bool:
    """Returns the value of a switch; refuses any other text, so that a switch is not off because of its spelling."""
    word = text.strip().lower()
    if word not in (*_ON, *_OFF):
        raise SettingsError(variable, f"{text!r} is neither on nor off; write 1 or 0")
    return word in _ON


def number(origin: str, text: str) -> float:
    """Returns the value of a setting that is a number."""
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(origin, f"{text!r} is not a number") from error


def _refuse_misspelled(environment: Mapping[str, str]) -> None:
    """Refuses variables that resemble a setting; other variables with the prefix may belong to plugins."""
    known = [CONFIG.removeprefix(PREFIX), *(name.upper() for name in SETTINGS)]
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or name in known or not text.strip():
            continue
        import difflib  # only needed for variables that are not settings

        similar = difflib.get_close_matches(name, known, cutoff=_SIMILAR)
        if similar:
            problem = f"it is not a setting, but resembles {' and '.join(f'{PREFIX}{name}' for name in similar)}"
            raise SettingsError(variable, problem)


def _with_full_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Makes paths absolute, so that later changes of the working folder do not matter."""
    full = dict(values)
    for name in PATHS & values.keys():
        value = values[name]
        full[name] = str(full_path(value)) if isinstance(value, str) else tuple(str(full_path(path)) for path in value)
    return full


def _enforce(own: Settings, rules: Settings) -> Settings:
    """Replaces the user's values with the enforced ones; lists of plugins are kept apart, because both apply."""
    names = [name for name in rules.origins or {} if name not in PLUGIN_LISTS]
    values = {name: getattr(rules, name) for name in names}
    origins = {**(own.origins or {}), **{name: rules.origin(name) for name in names}}
    return replace(own, **values, origins=origins, enforced=rules)


def _tell_overridden(own: Settings, rules: Settings) -> None:
    """Warns about the user's values that the enforced ones replace."""
    for name in rules.origins or {}:
        if name not in PLUGIN_LISTS and name in (own.origins or {}) and getattr(own, name) != getattr(rules, name):
            from vertebra._system.log import log  # only needed if a setting has no effect

            log.warning("%s has no effect: %s sets %s.", own.origin(name), rules.origin(name), name)


def check_folders(result: Settings) -> None:
    """Refuses cache paths that exist and are not folders; a missing folder is created later.

    Raises:
        SettingsError: a path is that of a file, or inside of one.
    """
    for name, paths in {"cache": (result.cache,) if result.cache else (), "cache_tiers": result.cache_tiers}.items():
        for path in paths:
            problem = not_a_folder(path)
            if problem:
                raise SettingsError(result.origin(name), f"{problem}, but the cache must be one")
