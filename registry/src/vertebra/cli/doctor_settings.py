"""The findings of `vertebra doctor` on settings: which files are used, what the machine enforces, what is ignored."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vertebra._configuration.config_file import LISTS, SWITCHES, TEXTS, dangling_link
from vertebra._configuration.settings import CONFIG, MACHINE_CONFIG, PREFIX, Settings, config_path, settings
from vertebra.errors import SettingsError

Said = tuple[str, bool, str]
"""What was examined, whether it is as it should be, and a sentence about it."""


def examine_settings() -> Iterator[Said]:
    """Yields what there is to say of the settings; the last one says so if they cannot be read."""
    for subject, path in {"machine settings": MACHINE_CONFIG, "settings": config_path(os.environ)}.items():
        link = dangling_link(path)
        state = "is used" if os.path.lexists(path) else "does not exist: defaults"
        yield subject, link is None, f"{path} {state}" if link is None else f"{link} is a link without a target"
    problem = _writable_by_others(MACHINE_CONFIG)
    if problem:
        yield "machine settings", False, problem
    try:
        chosen = settings()
    except SettingsError as error:
        yield "settings", False, str(error)
        return
    yield from _enforced(chosen)
    known = {CONFIG, *(f"{PREFIX}{name.upper()}" for name in (*LISTS, *TEXTS, *SWITCHES))}
    others = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if others:
        yield "other variables", True, f"{', '.join(others)}: not settings of the core, and without effect on it"


def _enforced(chosen: Settings) -> Iterator[Said]:
    for name in (chosen.enforced and chosen.enforced.origins) or ():
        value = getattr(chosen.enforced, name)
        shown = ", ".join(value) if isinstance(value, tuple) else value
        yield "enforced", True, f"{name} = {shown}"


def _writable_by_others(path: Path) -> str | None:
    """Returns who can change the machine's configuration and should not be able to, or None."""
    for item in (path, path.parent) if os.name == "posix" else ():
        try:
            facts = item.stat()
        except OSError:
            continue
        if facts.st_uid != 0:
            return f"{item} belongs to another user than root (uid {facts.st_uid}), who can change what is enforced"
        if stat.S_IMODE(facts.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{item} can be written by others than root, who can change what is enforced: chmod go-w {item}"
    return None
