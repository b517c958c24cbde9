"""Verifies the signature of a preset before any other file of it is read, and which files it covers."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vertebra._cache.layout import is_hexadecimal
from vertebra._configuration.settings import settings
from vertebra._discovery.catalog import SIGNATURES, Entry, catalog
from vertebra._discovery.extras import extra_command
from vertebra._resolve.filenames import is_hidden
from vertebra._resolve.lockfile import LockedPreset
from vertebra._system.file_identity import identity_of
from vertebra._system.user_paths import full_path
from vertebra.errors import (
    PluginError,
    PresetChangedError,
    SettingsError,
    SignatureError,
    VertebraError,
    exception_text,
)
from vertebra.errors.base import shorten, shown
from vertebra.file_names import SIGNATURE
from vertebra.handles import PresetHandle
from vertebra.interfaces import SignatureScheme
from vertebra.specs import PresetFile

_MOST_BYTES = 2**24
"""Largest signature: that of a preset with some 100,000 files."""
_SIGN = "Publish it with a signature: vertebra push DIR URI --sign KEY"
_CHANGED = "Fetch the preset again from its publisher, who signs it again if the change is intended"


def trusted_keys(keys: Sequence[str | Path] | None) -> tuple[Path, ...]:
    """Returns the keys of which one must have signed a preset, or none if it needs no signature.

    Args:
        keys: The keys, none to require no signature, or None for those of the settings, if these require one.

    Raises:
        SettingsError: the settings require a signature and name no key, or the machine enforces one, and a key is
            none of those in the settings.
    """
    if keys is None and not settings().require_signature:
        return ()
    chosen = tuple(map(full_path, settings().signature_keys if keys is None else keys))
    if not chosen and keys is None:
        problem = "presets must be signed, but signature_keys names no key that may sign them"
        remedy = "Write the paths of the trusted public keys: vertebra config set signature_keys PATH..."
        raise SettingsError(settings().origin("require_signature"), problem, remedy)
    if settings().is_enforced("require_signature"):
        _check_permitted(chosen)
    return chosen


def _check_permitted(keys: Sequence[Path]) -> None:
    """Refuses keys that are not in the settings, where a machine requires signatures by those."""
    others = [str(key) for key in keys if str(key) not in settings().signature_keys]
    if others:
        problem = f"signatures by the keys in the settings are required, and {shorten(others, 5)} is none of them"
        raise SettingsError(settings().origin("require_signature"), problem, "Leave out the option --signature-key")


def signed_preset(
    handle: PresetHandle,
    files: Sequence[PresetFile],
    keys: Sequence[Path],
    fetch: Callable[[PresetFile], Path],
    locked: LockedPreset | None,
) -> LockedPreset:
    """Verifies the signature of a preset, and returns its files with the signed digests, as the lockfile would.

    Hidden files are left out: `vertebra push` signs none, and no load reads one.

    Args:
        handle: The pinned handle.
        files: The listed files.
        keys: The trusted keys, at least one.
        fetch: Returns the local path of a file.
        locked: The entry of the lockfile, whose digests must be the signed ones, or None.

    Raises:
        SignatureError: there is no signature, it is not valid or by another key, or it does not cover exactly the
            listed files.
    """
    listed = {file.name: file for file in files if not is_hidden(file.name)}
    signature = listed.pop(SIGNATURE, None)
    if signature is None:
        raise SignatureError(handle, f"it has no signature, a file {SIGNATURE}, but one is required", _SIGN)
    if signature.size > _MOST_BYTES:
        raise SignatureError(handle, f"its {SIGNATURE} has {signature.size:,} bytes, which no signature has", _CHANGED)
    content = _content(handle, signature, fetch(signature))
    digests = _verified(handle, content, keys)
    _check_coverage(handle, set(listed), digests)
    signed = [replace(file, digest=f"sha256:{digests[name]}") for name, file in listed.items()]
    if locked is not None:
        _check_locked(handle, signed, locked)
    everything = (*signed, replace(signature, digest=f"sha256:{hashlib.sha256(content).hexdigest()}"))
    return LockedPreset(handle, everything, is_signed=True) if locked is None else locked


def sign(files: Mapping[str, Path], name: str, key: Path, certificates: Sequence[Path]) -> bytes:
    """Returns the signature of files; see `SignatureScheme.sign`.

    Raises:
        SignatureError: no plugin signs presets, or the key cannot be used.
    """
    (entry, *_) = _schemes(key)
    found = _attributed(entry, lambda: entry.value.sign(files, name, key, certificates))
    if not isinstance(found, bytes):
        raise PluginError(entry.owner.distribution, f"sign returned {shown(found)}, expected bytes")
    return found


def _content(handle: PresetHandle, signature: PresetFile, path: Path) -> bytes:
    """Returns the content of a signature, which is that of the listing."""
    with path.open("rb") as stream:
        if signature.identity not in (None, identity_of(os.fstat(stream.fileno()))):
            raise PresetChangedError(handle, signature.name)
        return stream.read(_MOST_BYTES)


def _verified(handle: PresetHandle, content: bytes, keys: Sequence[Path]) -> Mapping[str, str]:
    """Returns the signed digests, as the first plugin that accepts the signature reports them.

    The plugins get a copy, so that all of them read the same bytes, also if another process replaces the file.
    """
    with tempfile.TemporaryDirectory(prefix="vertebra-") as folder:
        copy = Path(folder, SIGNATURE)
        copy.write_bytes(content)
        return _verified_copy(handle, copy, keys)


def _verified_copy(handle: PresetHandle, signature: Path, keys: Sequence[Path]) -> Mapping[str, str]:
    failures: list[SignatureError] = []
    for entry in _schemes(handle):
        try:
            digests = _attributed(entry, lambda entry=entry: entry.value.verify(signature, keys))  # type: ignore[misc]
        except SignatureError as error:
            of_preset = str(error.subject) == str(signature)  # and not of a key that cannot be used
            failures.append(SignatureError(handle, error.problem, error.remedy) if of_preset else error)
            continue
        if not isinstance(digests, Mapping) or not all(map(is_hexadecimal, digests.values())):
            raise PluginError(entry.owner.distribution, f"verify returned {shown(digests)}, expected digests by name")
        return digests
    raise failures[0]


def _schemes(subject: object) -> list[Entry[SignatureScheme]]:
    entries = list(catalog(SIGNATURES))
    if not entries:
        command = extra_command("sign")
        unused = "Install one that contributes vertebra_signatures; vertebra plugins tells if one is blocked or fails"
        remedy = f"Install one with: {command}" if command else unused
        raise SignatureError(subject, "no installed plugin signs presets or verifies signatures", remedy)
    return entries


def _attributed(entry: Entry[SignatureScheme], call: Callable[[], object]) -> object:
    try:
        return call()
    except VertebraError:
        raise
    except Exception as error:
        problem = f"its signature scheme {entry.name} failed ({exception_text(error)})"
        raise PluginError(entry.owner.distribution, problem, "Report the error to the authors of the plugin") from error


def _check_coverage(handle: PresetHandle, listed: set[str], digests: Mapping[str, str]) -> None:
    """Refuses files that are not signed, and signed files that are missing, except hidden ones."""
    added = sorted(listed - digests.keys())
    missing = sorted(name for name in digests.keys() - listed if not is_hidden(name))
    if added:
        problem = f"its signature does not cover {shorten([shown(name) for name in added], 5)}"
        raise SignatureError(handle, problem, _CHANGED)
    if missing:
        problem = f"files that its signature covers are missing: {shorten([shown(name) for name in missing], 5)}"
        raise SignatureError(handle, problem, _CHANGED)


def _check_locked(handle: PresetHandle, signed: Sequence[PresetFile], locked: LockedPreset) -> None:
    entries = {file.name: file.digest for file in locked.files}
    differing = [file.name for file in signed if entries[file.name] != file.digest]
    if differing:
        problem = f"the lockfile has other digests than its signature for {shorten(differing, 5)}"
        raise SignatureError(handle, problem, "Find out which is right, and lock the preset again")
