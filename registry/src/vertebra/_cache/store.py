"""The store: contents by their SHA-256, and what is known of presets; correct with any number of processes.

A cache folder holds

    blobs/ab/abcd…          contents, read-only, named by their SHA-256
    presets/KEY/preset.json what a pinned preset consists of, as its source listed it
    presets/KEY/files/KEY   which content one of its files has; it is written last, so whoever finds it finds all of it
    refs/KEY                what an unpinned handle meant when it was last looked up
    partial/                what is being downloaded, or was when somebody was stopped
    locks/                  they save work, and nothing depends on them

where a KEY is a hash of a handle or name. Every file is written under a name of its own and then renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._cache.revisions import IsRevision, tell_misnamed
from vertebra._system.atomic_save import sync, sync_folder
from vertebra._system.strict_json import dump_json, parse_json
from vertebra.errors import CacheError, HandleError, PresetConfigError, VertebraError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOTE = "note"
_LEASE = 3600.0
"""Seconds after which what somebody on another machine began counts as abandoned."""
LEFT = "left-0"
"""Stands for the owner of what its owner has given up."""
Note = dict[str, Any]
"""A small JSON file."""


@dataclass(frozen=True, slots=True)
class Record:
    """Which content a file of a preset has."""

    name: str
    size: int
    sha256: str


class Store:
    """One cache folder, and folders of the same layout that are only read."""

    def __init__(self, root: Path, tiers: Sequence[Path] = ()) -> None:
        self.root = root
        self.tiers = tuple(tiers)

    # === Reading ===

    def blob(self, sha256: str, size: int | None) -> Path | None:
        """Returns where a content stands, if it does with the right size; what is damaged is passed over."""
        for place in self.places():
            path = blob_path(place, sha256)
            if is_sound(path, size):
                return path
        return None

    def record(self, handle: PresetHandle, name: str) -> Record | None:
        """Returns which content a file of a pinned preset has, if that is known."""
        for place in self.places():
            note = read_note(file_path(place, handle, name))
            if note and (note.get("handle"), note.get("name")) == (str(handle), name) and (found := record_in(note)):
                return found
        return None

    def find(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns where a file of a pinned preset stands, or None if it must be fetched."""
        known = self.record(handle, file.name)
        promised = sha256_of(file)
        if known is None and promised is None:
            return None
        if known is not None and (promised in (None, known.sha256)):
            return self.blob(known.sha256, known.size)
        return self.blob(promised, file.size) if promised else None

    def file_list(self, handle: PresetHandle) -> list[PresetFile] | None:
        """Returns the files of a pinned preset, or None if nobody has listed them."""
        for place in self.places():
            note = read_note(preset_path(place, handle))
            if note and note.get("handle") == str(handle) and (listed := listed_in(note)) is not None:
                return listed
        return None

    def ref(self, handle: PresetHandle, is_revision: IsRevision) -> PresetHandle | None:
        """Returns what an unpinned handle meant when it was last looked up.

        Args:
            handle: The unpinned handle.
            is_revision: Tells whether a pinned handle is of the preset that another one names. A note by which it is
                not would give one preset the name of another: it is told and not used.
        """
        for place in (self.root, *self.tiers):  # the newest is the user's own
            note = read_note(ref_path(place, handle))
            if note and note.get("handle") == str(handle) and (pinned := pinned_in(note)):
                if is_revision(pinned, handle):
                    return pinned
                tell_misnamed("cache" if place == self.root else "cache tier", place, pinned, handle)
        return None

    # === Writing ===

    def put_blob(self, stage: Path, sha256: str) -> Path:
        """Moves a complete file, whose content has been checked, to its place."""
        target = blob_path(self.root, sha256)
        with self.explained():
            sync(stage)
            stage.chmod(0o444)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir() and not target.is_symlink():  # nobody but a passer-by puts one there
                target.replace(stage.with_suffix(".aside"))
                shutil.rmtree(stage.with_suffix(".aside"))
            stage.replace(target)
        sync_folder(target.parent)
        return target

    def put_record(self, handle: PresetHandle, record: Record) -> None:
        """Notes which content a file of a pinned preset has; the content must be there."""
        facts = {"handle": str(handle), "name": record.name, "size": record.size, "sha256": record.sha256}
        self._write(file_path(self.root, handle, record.name), facts)

    def put_file_list(self, handle: PresetHandle, files: Sequence[PresetFile]) -> None:
        """Notes which files a pinned preset has."""
        listed = [{"name": file.name, "size": file.size, "digest": file.digest} for file in files]
        self._write(preset_path(self.root, handle), {"handle": str(handle), "files": listed})

    def put_ref(self, handle: PresetHandle, pinned: PresetHandle) -> None:
        """Notes what an unpinned handle means now."""
        self._write(ref_path(self.root, handle), {"handle": str(handle), "pinned": str(pinned)})

    def stage(self, folder: str, key: str) -> Path:
        """Creates an empty file of a name that nobody else has."""
        with self.explained():
            place = self.root / folder
            place.mkdir(parents=True, exist_ok=True)
            path = place / _unfinished_name(key)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600))
            return path

    def take_over(self, abandoned: Path, key: str) -> Path | None:
        """Returns what somebody had of a file, under a name of this process's own; None if that cannot be.

        It is moved, so that there is never a second one; of somebody who may be alive after all, a copy is made.
        """
        target = abandoned.with_name(_unfinished_name(key))
        try:
            if not is_sound(abandoned, None) or not os.access(abandoned, os.R_OK | os.W_OK):
                return None
            if is_left(abandoned):
                abandoned.rename(target)
                os.utime(target)  # for others it is at work from now on
                return target
            shutil.copyfile(abandoned, target)
        except OSError:
            target.unlink(missing_ok=True)
            return None
        return target

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Says what an error of the file system means for the cache."""
        try:
            yield
        except VertebraError:  # some are OSErrors, too
            raise
        except OSError as error:
            if error.errno in _UNWRITABLE:
                problem, remedy = "it is not writable", "Set VERTEBRA_CACHE to a folder that you may write to"
            elif error.errno in _FULL:
                problem, remedy = "the disk is full", "Free some space, prune it with vertebra cache prune, or move it"
            else:
                problem, remedy = str(error), "Check the folder, or set VERTEBRA_CACHE to another one"
            raise CacheError(self.root, problem, remedy) from error

    def partials(self, key: str = "*") -> list[Path]:
        """Returns what somebody is at work on, or was."""
        return sorted((self.root / "partial").glob(f"{key}.*.tmp"))

    def places(self) -> tuple[Path, ...]:
        """Returns the folders that are looked into, in this order."""
        return (*self.tiers, self.root)

    def _reclaim_notes(self) -> None:
        """Removes notes that somebody was stopped at; contents are gone on from, or removed by pruning."""
        with contextlib.suppress(OSError):
            for path in self.partials(_NOTE):
                if is_abandoned(path, time.time(), _LEASE):
                    path.unlink(missing_ok=True)

    def _write(self, target: Path, facts: dict[str, Any]) -> None:
        self._reclaim_notes()
        stage = self.stage("partial", _NOTE)
        with self.explained():
            try:
                stage.write_bytes(dump_json(facts))
                stage.chmod(0o644)  # as contents are: another user's tier is of use only if its notes can be read
                sync(stage)
                target.parent.mkdir(parents=True, exist_ok=True)
                stage.replace(target)
                sync_folder(target.parent)
            finally:
                stage.unlink(missing_ok=True)


# === Names ===


def key_of(*parts: str) -> str:
    """Returns a file name for a handle or other texts, the same on every file system."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def blob_path(place: Path, sha256: str) -> Path:
    """Returns where a cache folder has a content."""
    return place / "blobs" / sha256[:2] / sha256


def sha256_of(file: PresetFile) -> str | None:
    """Returns the SHA-256 that a source promises of a file, or None if it promises none."""
    algorithm, _, value = (file.digest or "").partition(":")
    return value.lower() if algorithm == "sha256" and is_hexadecimal(value.lower()) else None


def is_sound(path: Path, size: int | None) -> bool:
    """Says whether a path is a file, itself and not a link, of a size."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and size in (None, facts.st_size)


def preset_path(place: Path, handle: PresetHandle) -> Path:
    """Returns where a cache folder notes which files a pinned preset has."""
    return place / "presets" / key_of(str(handle)) / "preset.json"


def file_path(place: Path, handle: PresetHandle, name: str) -> Path:
    """Returns where a cache folder notes which content a file has."""
    return place / "presets" / key_of(str(handle)) / "files" / f"{key_of(name)}.json"


def ref_path(place: Path, handle: PresetHandle) -> Path:
    """Returns where a cache folder notes what an unpinned handle meant."""
    return place / "refs" / f"{key_of(str(handle))}.json"


def is_hexadecimal(text: object) -> bool:
    """Says whether a text can be a SHA-256."""
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


# === Notes ===


def read_note(path: Path) -> Note | None:
    """Reads a note; one that is missing or damaged says nothing, and what it was about is fetched again."""
    try:
        return parse_json(path.read_bytes(), lambda problem: PresetConfigError(path, problem))
    except (OSError, PresetConfigError):
        return None


def record_in(note: Note) -> Record | None:
    """Returns which content a file has, if that is what a note says."""
    name, size, sha256 = (note.get(field) for field in ("name", "size", "sha256"))
    if isinstance(name, str) and type(size) is int and isinstance(sha256, str) and is_hexadecimal(sha256):
        return Record(name, size, sha256)
    return None


def listed_in(note: Note) -> list[PresetFile] | None:
    """Returns which files a preset has, if that is what a note says."""
    with contextlib.suppress(TypeError, KeyError, ValueError, AttributeError):
        return [PresetFile(str(f["name"]), int(f["size"]), None, _text(f.get("digest"))) for f in note["files"]]
    return None


def pinned_in(note: Note) -> PresetHandle | None:
    """Returns what a handle meant, if that is what a note says."""
    with contextlib.suppress(HandleError, KeyError, TypeError, AttributeError):
        return PresetHandle.parse(note["pinned"])
    return None


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value


# === Who is at work ===


def _unfinished_name(key: str) -> str:
    return f"{key}.{owner_tag()}.{secrets.token_hex(4)}.tmp"


def owner_tag() -> str:
    """Returns a text that tells this process from all others, of other machines and containers, too."""
    return f"{_machine()}-{os.getpid()}"


def is_abandoned(path: Path, now: float, lease: float) -> bool:
    """Says whether whoever began a file is gone: by its number on this machine, else by how long it lies untouched."""
    if is_left(path):
        return True
    if _number_here(path) is not None:
        return False
    try:
        return now - path.lstat().st_mtime > lease
    except OSError:
        return False


def is_left(path: Path) -> bool:
    """Says whether whoever began a file is gone for certain."""
    number = _number_here(path)
    return LEFT in path.name.split(".") or (number is not None and not _is_running(number))


def _number_here(path: Path) -> int | None:
    """Returns the number of the process of this machine that began a file, or None if it was of another one."""
    machine, _, number = "".join(path.name.split(".")[1:2]).rpartition("-")
    return int(number) if machine == _machine() and number.isdigit() and os.name == "posix" else None


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _machine() -> str:
    """Numbers of processes mean something only within one start of a machine, and within one container."""
    facts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            facts.append(str(Path(path).readlink()) if path.endswith("pid") else Path(path).read_text())
    return hashlib.sha256("".join(facts).encode()).hexdigest()[:12]
