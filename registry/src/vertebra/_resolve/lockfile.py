"""The lockfile: the revision and the digests of each preset of a project, across all sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._arguments import flag
from vertebra._cache.default_store import cache_folder
from vertebra._cache.digest import digest_of
from vertebra._cache.layout import is_hexadecimal
from vertebra._configuration.settings import settings
from vertebra._discovery.distributions import is_release
from vertebra._system.atomic_save import replacing_file
from vertebra._system.regular_files import problem_of, read_limited
from vertebra._system.strict_json import dump_json, parse_json
from vertebra.errors import IntegrityError, LockError, SignatureError, VertebraError, close_names
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    from vertebra._cache.cached_source import CachedSource

NAME = "vertebra.lock"
_VERSION = 1
"""The version of the lockfile's structure: later releases may add keys, which this one passes over."""
_MOST_BYTES = 64 * 2**20
_verified: set[tuple[object, ...]] = set()
"""States of files that were verified against the lockfile."""


@dataclass(frozen=True, slots=True)
class LockedPreset:
    """One preset in the lockfile."""

    handle: PresetHandle | None
    """The pinned handle, if the source has revisions; None for a path, which is resolved at each load."""
    files: tuple[PresetFile, ...]
    """All files of the preset, each with its SHA-256."""
    plugins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Versions of the distributions that read the preset when it was locked; empty in older lockfiles."""
    is_signed: bool = field(default=False, compare=False)
    """Whether the digests are from the preset's signature and not from the lockfile."""


@dataclass(frozen=True, slots=True)
class Lockfile:
    """The presets of a project."""

    presets: Mapping[str, LockedPreset] = field(default_factory=dict)
    """The presets by the text that is passed to `from_preset`."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Versions of the distributions that were installed when the lockfile was written."""


def lockfile_path() -> Path:
    """Returns the path of the lockfile: `VERTEBRA_LOCKFILE`, or `vertebra.lock` in the current folder."""
    return Path(settings().lockfile or Path.cwd() / NAME)


def read_lockfile(path: Path) -> Lockfile:
    """Reads a lockfile.

    Raises:
        LockError: the lockfile is missing or invalid.
    """
    try:
        data = parse_json(read_limited(path, _MOST_BYTES), lambda problem: _invalid(path, problem))
    except FileNotFoundError:
        raise LockError(path, "it does not exist", "Create it with: vertebra lock PRESET...") from None
    except OSError as error:
        raise _invalid(path, problem_of(error)) from error
    if data.get("version") != _VERSION:
        raise _invalid(path, f"its version is {data.get('version')!r}, expected {_VERSION}")
    try:
        presets = {str(name): _preset_from(facts) for name, facts in data["presets"].items()}
        return Lockfile(presets, {str(name): str(version) for name, version in data["plugins"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, VertebraError) as error:
        raise _invalid(path, f"it does not have the structure of a lockfile ({error})") from error


def write_lockfile(path: Path, lockfile: Lockfile) -> None:
    """Writes a lockfile; an existing one is replaced.

    Raises:
        PresetSaveError: the lockfile cannot be written; an existing one is unchanged.
    """
    data = {
        "version": _VERSION,
        "presets": {name: _preset_as_data(preset) for name, preset in sorted(lockfile.presets.items())},
        "plugins": dict(sorted(lockfile.plugins.items())),
    }
    with replacing_file(path) as stage:
        stage.write_bytes(dump_json(data))


def locked_preset(requested: str) -> LockedPreset:
    """Returns the lockfile's entry for a preset.

    Raises:
        LockError: the lockfile is missing or invalid, or has no entry for the preset.
    """
    path = lockfile_path()
    presets = read_lockfile(path).presets
    if requested not in presets:
        similar = close_names(requested, presets)
        hint = f" (it has {similar[0]!r})" if similar else ""
        raise LockError(path, f"it has no entry for {requested!r}{hint}", f"Add it with: vertebra lock {requested}")
    return presets[requested]


def check_unlocked(locked: bool | None, function: str = "from_preset") -> None:
    """Checks the argument `locked` of a function that loads a preset or an adapter.

    Raises:
        ArgumentError: the argument is neither a bool nor None.
        LockError: the argument is False, but the machine enforces locked presets.
    """
    if locked is not None and not flag(function, "locked", locked) and settings().is_enforced("locked"):
        problem = f"{settings().origin('locked')} requires locked presets, but the call has locked=False"
        raise LockError(lockfile_path(), problem, "Remove the argument")


def list_files(
    access: LocalSource | CachedSource, handle: PresetHandle, locked: LockedPreset | None
) -> list[PresetFile]:
    """Returns the files of a preset, those of a locked one as the lockfile has them.

    Locked files in a local folder have the identities of the moment, so that a replaced file is noticed after it was
    hashed, too.
    """
    if locked is None:
        return access.files(handle)
    present = {file.name: file for file in access.files(handle)} if isinstance(access, LocalSource) else {}
    return [
        replace(file, path=present[file.name].path, identity=present[file.name].identity)
        if file.name in present
        else file
        for file in locked.files
    ]


def verify_locked(
    handle: PresetHandle,
    files: Sequence[PresetFile],
    fetch: Callable[[], list[Path]],
    in_cache: bool,
    is_signed: bool = False,
) -> list[Path]:
    """Fetches files and compares their sizes and digests with the lockfile, or with the preset's signature.

    Args:
        handle: The pinned handle.
        files: The files, with the lockfile's sizes and digests.
        fetch: Returns the local paths of the files.
        in_cache: Whether these paths are in the cache or one of its tiers.
        is_signed: Whether the digests are those of a signature.

    Raises:
        LockError: a file differs; SignatureError if the digests are those of a signature.
    """
    changed = _not_signed if is_signed else _changed
    try:
        paths = fetch()
    except IntegrityError as error:
        raise changed(handle, error.name, error.problem) from error
    for file, path in zip(files, paths, strict=True):
        problem = _verify_once(file, path)
        if problem:
            raise changed(handle, file.name, problem, path if in_cache else None)
    return paths


def _verify_once(file: PresetFile, path: Path) -> str | None:
    """Returns the result of `difference`; an unchanged file is hashed only once, since a process may load it often."""
    try:
        facts = path.stat()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    state = path, file, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    if state in _verified:
        return None
    problem = difference(file, path)
    if problem is None:
        _verified.add(state)
    return problem


def difference(file: PresetFile, path: Path) -> str | None:
    """Returns how a local file differs from its entry in the lockfile, or None if it does not."""
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"it has {size:,} bytes, expected {file.size:,}"
        return digest_of(path, file.digest).mismatch()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def locked_files(files: Sequence[PresetFile], paths: Sequence[Path]) -> tuple[PresetFile, ...]:
    """Returns files with the sizes and SHA-256 of the local files at some paths."""
    return tuple(
        replace(file, path=None, size=path.stat().st_size, digest=f"sha256:{digest_of(path).sha256()}")
        for file, path in zip(files, paths, strict=True)
    )


def _preset_as_data(preset: LockedPreset) -> dict[str, Any]:
    files = {file.name: {"size": file.size, "sha256": (file.digest or "")[7:]} for file in preset.files}
    data = {"handle": None if preset.handle is None else str(preset.handle), "files": files}
    return data | ({"plugins": dict(sorted(preset.plugins.items()))} if preset.plugins else {})


def _preset_from(facts: Mapping[str, Any]) -> LockedPreset:
    files = []
    for name, file in facts["files"].items():
        size, sha256 = file["size"], file["sha256"]
        if type(size) is not int or size < 0 or not is_hexadecimal(sha256):
            raise ValueError(f"size or sha256 of {name!r}")
        files.append(PresetFile(name, size, None, f"sha256:{sha256}"))
    handle, plugins = facts["handle"], facts.get("plugins", {})
    for name, version in plugins.items():
        if not is_release(name, version):
            raise ValueError(f"plugins: {name!r}: {version!r}")
    return LockedPreset(None if handle is None else PresetHandle.parse(handle), tuple(files), plugins)


def _changed(handle: PresetHandle, name: str, problem: str, cached: Path | None = None) -> LockError:
    remedy = "Find out why it changed; if the change is intended, update the lockfile with: vertebra lock --update"
    remedy = remedy if cached is None else _repair(cached)
    return LockError(lockfile_path(), f"{name} of {str(handle)!r} differs from its entry: {problem}", remedy)


def _not_signed(handle: PresetHandle, name: str, problem: str, cached: Path | None = None) -> SignatureError:
    remedy = "Do not use the file: fetch the preset again from its publisher" if cached is None else _repair(cached)
    return SignatureError(handle, f"its {name} is not the signed file: {problem}", remedy)


def _repair(cached: Path) -> str:
    """Returns what to do about a changed file of the cache, or of a tier."""
    if cached.is_relative_to(cache_folder()):
        return "The cached file was changed; remove it with: vertebra cache verify --repair, and load the preset again"
    return f"Repair the cache tier that has {cached}, or remove the tier from VERTEBRA_CACHE_TIERS"


def _invalid(path: Path, problem: str) -> LockError:
    return LockError(path, problem, "Restore it, or delete it and create a new one with: vertebra lock PRESET")
