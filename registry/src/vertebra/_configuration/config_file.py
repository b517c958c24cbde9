"""Configuration files: TOML, read strictly, so that no setting is lost by a mistake in the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vertebra._arguments import is_amount
from vertebra.errors import SettingsError

PLUGIN_LISTS = ("plugins", "block", "prefer")
LISTS = (*PLUGIN_LISTS, "cache_tiers", "signature_keys")
TEXTS = ("runtime", "cache", "lockfile")
SWITCHES = ("offline", "locked", "locked_plugins", "require_signature", "copy_weights")
NUMBERS = ("mesh_timeout",)
"""Numbers above 0."""
SETTINGS = (*LISTS, *TEXTS, *SWITCHES, *NUMBERS)
"""The names of all settings."""
PATHS = ("cache", "cache_tiers", "lockfile", "signature_keys")
ENFORCED = "enforced"
"""The table of the machine's configuration whose settings users cannot weaken."""


def read_config(path: Path, required: bool) -> dict[str, Any]:
    """Reads a configuration file.

    Args:
        path: The file.
        required: Whether it must exist.

    Returns:
        The settings by name: lists as tuples of strings, strings, booleans and numbers. Empty if there is no file.

    Raises:
        SettingsError: the file is required but missing, cannot be read, is not TOML, or has an unknown setting.
    """
    return {name: checked(str(path), name, value) for name, value in read_table(path, required).items()}


def read_machine_config(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Reads the machine's configuration file; the file is optional.

    Returns:
        The defaults of this machine, and its enforced settings, or None if there is no table `enforced`.

    Raises:
        SettingsError: as for `read_config`, or an enforced value depends on the user.
    """
    table = read_table(path, required=False)
    rules = table.pop(ENFORCED, None)
    defaults = {name: checked(str(path), name, value) for name, value in table.items()}
    if rules is None:
        return defaults, None
    if not isinstance(rules, dict):
        raise SettingsError(str(path), not_a_table(rules))
    origin = enforced_in(path)
    return defaults, {name: checked_rule(origin, name, checked(origin, name, value)) for name, value in rules.items()}


def not_a_table(rules: object) -> str:
    """Returns the problem of a file whose enforced settings are no table."""
    return f"{ENFORCED} = {rules!r} is not a table; write [{ENFORCED}] above the settings"


def enforced_in(path: Path) -> str:
    """Returns the origin of the enforced settings of a file, for messages."""
    return f"{path} [{ENFORCED}]"


def dangling_link(path: Path) -> Path | None:
    """Returns a configuration file or its folder if it is a symbolic link to a missing target, or None."""
    paths = (path, path.parent)
    return next((link for link in paths if os.path.islink(link) and not os.path.exists(link)), None)  # noqa: PTH110, PTH114 (Path's raise)


def read_table(path: Path, required: bool) -> dict[str, Any]:
    """Reads a configuration file as it is; see `read_config`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # A missing file is fine where the home is /dev/null; a requested file may have a list of blocked plugins.
        link = dangling_link(path)
        if link is not None:
            problem = f"{link} is a symbolic link whose target does not exist, so the settings in it are unknown"
            raise SettingsError(str(path), problem, "Correct the link, or remove it to use the defaults") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not required:
            return {}
        raise SettingsError(str(path), f"the file cannot be read ({error})") from error
    import tomllib  # only needed if there is a file

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise SettingsError(str(path), "its lists or tables are nested too deeply") from error
    except ValueError as error:  # also a number with more digits than Python reads
        raise SettingsError(str(path), f"it is not TOML ({error})") from error


def checked(origin: str, name: str, value: object) -> Any:
    """Returns the value of a setting in a file, a list as a tuple.

    Raises:
        SettingsError: there is no such setting, or the value has another type.
    """
    if name in LISTS and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if (name in TEXTS and isinstance(value, str) and value.strip()) or (name in SWITCHES and isinstance(value, bool)):
        return value
    if name in NUMBERS and is_amount(value):
        return float(value)  # type: ignore[arg-type]
    kinds = {
        "list of strings": LISTS,
        "string, not blank": TEXTS,
        "true or false": SWITCHES,
        "number above 0": NUMBERS,
    }
    known = ", ".join(f"{name} ({kind})" for kind, names in kinds.items() for name in names)
    raise SettingsError(origin, f"{name} = {value!r} is not a setting; the settings are {known}")


def checked_rule(origin: str, name: str, value: Any) -> Any:
    """Refuses an enforced value that depends on the user's home or working folder, or that switches a setting off."""
    if value is False:
        raise SettingsError(origin, f"{name} = false enforces nothing; only true can be enforced")
    for path in (value if isinstance(value, tuple) else (value,)) if name in PATHS else ():
        if not Path(path).is_absolute():
            raise SettingsError(origin, f"{name} = {path!r} depends on the user; write an absolute path")
    return value
