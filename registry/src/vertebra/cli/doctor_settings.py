"""Findings of `vertebra doctor` on settings: the files in use, enforced settings and unknown variables."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vertebra._configuration.config_file import SETTINGS, dangling_link
from vertebra._configuration.settings import CONFIG, MACHINE_CONFIG, PREFIX, Settings, config_path, settings
from vertebra.errors import SettingsError

SettingsFinding = tuple[str, bool, str]
"""The subject of a check, whether it passed, and a sentence on the result."""


def examine_settings() -> Iterator[SettingsFinding]:
    """Yields findings on the settings; if they cannot be read, the last finding gives the reason."""
    for subject, path in {"machine settings": MACHINE_CONFIG, "settings": config_path(os.environ)}.items():
        link = dangling_link(path)
        state = "is used" if os.path.lexists(path) else "does not exist: the defaults apply"
        yield subject, link is None, f"{path} {state}" if link is None else f"{link} is a dangling symbolic link"
    for problem in filter(None, (_writable_by_others(MACHINE_CONFIG), unreadable_by_others(MACHINE_CONFIG))):
        yield "machine settings", False, problem
    try:
        user = settings()
    except SettingsError as error:
        yield "settings", False, str(error)
        return
    yield from _enforced(user)
    yield from _signatures(user)
    known = {CONFIG, *(f"{PREFIX}{name.upper()}" for name in SETTINGS)}
    others = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if others:
        yield "other variables", True, f"{', '.join(others)}: not settings of the vertebra package, which ignores them"


def _enforced(user: Settings) -> Iterator[SettingsFinding]:
    for name in (user.enforced and user.enforced.origins) or ():
        value = getattr(user.enforced, name)
        shown = ", ".join(value) if isinstance(value, tuple) else value
        yield "enforced", True, f"{name} = {shown}"


def _signatures(user: Settings) -> Iterator[SettingsFinding]:
    """Yields findings on the trusted keys, if presets must be signed."""
    if not user.require_signature:
        return
    if not user.signature_keys:
        problem = f"{user.origin('require_signature')} requires signatures, but signature_keys names no key"
        yield "signatures", False, f"{problem}: no preset loads; run: vertebra config set signature_keys PATH..."
    if user.is_enforced("require_signature") and not user.is_enforced("signature_keys"):
        problem = f"{user.origin('require_signature')} requires signatures, but signature_keys is not enforced"
        yield "signatures", False, f"{problem}: users choose whose signatures they accept"
    for key in map(Path, user.signature_keys):
        readable = key.is_file() and os.access(key, os.R_OK)
        state = "is a trusted key" if readable else f"cannot be read; correct {user.origin('signature_keys')}"
        yield "signatures", readable, f"{key} {state}"


def _writable_by_others(path: Path) -> str | None:
    """Returns a sentence on why users other than root can change the machine's settings, or None if they cannot."""
    for item in (path, path.parent) if os.name == "posix" else ():
        try:
            facts = item.stat()
        except OSError:
            continue
        if facts.st_uid != 0:
            return f"{item} belongs to the user with uid {facts.st_uid}, not to root: it can change enforced settings"
        if stat.S_IMODE(facts.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            return f"users other than root can write {item} and change enforced settings; run: chmod go-w {item}"
    return None


def unreadable_by_others(path: Path) -> str | None:
    """Returns a sentence on why other users cannot read the machine's settings, or None if they can."""
    for item, needed in ((path.parent, stat.S_IXOTH), (path, stat.S_IROTH)) if os.name == "posix" else ():
        with contextlib.suppress(OSError):
            if not item.stat().st_mode & needed:
                effect = f"other users cannot read {path}, and each command and load of theirs is an error"
                return f"{effect}; run: chmod a+{'r' if item == path else 'rx'} {item}"
    return None
