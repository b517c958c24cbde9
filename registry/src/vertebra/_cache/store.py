"""The store: blobs by their SHA-256, and the manifest entries of presets; safe with any number of processes.

A cache folder holds

        blobs/ab/abcd…          files, read-only, named by their SHA-256
        presets/KEY/preset.json the file list of a pinned preset, as its source returned it
        presets/KEY/files/KEY   the record of one file, with the SHA-256 of its blob; it is written after the blob
        refs/KEY                the pinned handle that an unpinned handle was last resolved to
        partial/                partial downloads, running or interrupted
        locks/                  download locks; they prevent double downloads, and correctness does not depend on them

where a KEY is a hash of a handle or name. Every file is written under a temporary name and then renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vertebra._cache.digest import digest_of
from vertebra._cache.folders import entries, make_folder
from vertebra._cache.layout import blob_path, file_path, is_regular_file, preset_path, ref_path, sha256_of
from vertebra._cache.manifest import Entry, Record, file_list_in, read_entry, record_in, ref_in
from vertebra._cache.revisions import IsRevision, warn_misnamed
from vertebra._system.atomic_save import sync, sync_folder
from vertebra._system.ownership import is_abandoned, is_surely_abandoned, unfinished_name
from vertebra._system.strict_json import dump_json
from vertebra.errors import CacheError, VertebraError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENTRY = "note"
_LEASE = 3600.0
"""Lease, in seconds, of an unfinished entry that a process on another machine began."""


class Store:
    """One cache folder, and its tiers: read-only folders of the same layout."""

    def __init__(self, root: Path, tiers: Sequence[Path] = ()) -> None:
        self.root = root
        self.tiers = tuple(tiers)

    # === Reading ===

    def blob(self, sha256: str, size: int | None) -> Path | None:
        """Returns the path of a blob, or None if it is missing or has another size."""
        for root in self.folders():
            path = blob_path(root, sha256)
            if is_regular_file(path, size):
                return path
        return None

    def record(self, handle: PresetHandle, name: str) -> Record | None:
        """Returns the record of a file of a pinned preset, or None if there is none."""
        for root in self.folders():
            entry = read_entry(file_path(root, handle, name))
            if (
                entry
                and (entry.get("handle"), entry.get("name")) == (str(handle), name)
                and (record := record_in(entry))
            ):
                return record
        return None

    def find(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns the path of a file of a pinned preset, or None if it must be fetched."""
        known = self.record(handle, file.name)
        expected = sha256_of(file)
        if known is None and expected is None:
            return None
        if known is not None and (expected in (None, known.sha256)):
            blob = self.blob(known.sha256, known.size)
            return blob if known.is_verified or blob is None or _is_as_listed(blob, file) else None
        return self.blob(expected, file.size) if expected else None

    def file_list(self, handle: PresetHandle) -> list[PresetFile] | None:
        """Returns the file list of a pinned preset, or None if it is not cached."""
        for root in self.folders():
            entry = read_entry(preset_path(root, handle))
            if entry and entry.get("handle") == str(handle) and (listed := file_list_in(entry)) is not None:
                return listed
        return None

    def ref(self, handle: PresetHandle, is_revision: IsRevision) -> PresetHandle | None:
        """Returns the pinned handle of an unpinned handle's last resolution.

        Args:
            handle: The unpinned handle.
            is_revision: Returns whether a pinned handle is a revision of the preset that another handle names. If it is
                not, the ref would give one preset the name of another: it is ignored, with a warning.
        """
        for root in (self.root, *self.tiers):  # the user's own cache has the newest refs
            entry = read_entry(ref_path(root, handle))
            if entry and entry.get("handle") == str(handle) and (pinned := ref_in(entry)):
                if is_revision(pinned, handle):
                    return pinned
                warn_misnamed("cache" if root == self.root else "cache tier", root, pinned, handle)
        return None

    # === Writing ===

    def put_blob(self, stage: Path, sha256: str) -> Path:
        """Moves a complete, verified file to the path of its blob."""
        target = blob_path(self.root, sha256)
        with self.translate_os_errors():
            sync(stage)
            stage.chmod(0o444)
            make_folder(self.root, target.parent)
            if target.is_dir() and not target.is_symlink():  # not created by Vertebra
                target.replace(stage.with_suffix(".aside"))
                shutil.rmtree(stage.with_suffix(".aside"))
            stage.replace(target)
        sync_folder(target.parent)
        return target

    def put_record(self, handle: PresetHandle, record: Record) -> None:
        """Writes the record of a file of a pinned preset; its blob must be in the store."""
        entry: Entry = {"handle": str(handle), "name": record.name, "size": record.size, "sha256": record.sha256}
        entry |= {} if record.is_verified else {"verified": False}
        self._write(file_path(self.root, handle, record.name), entry)

    def put_file_list(self, handle: PresetHandle, files: Sequence[PresetFile]) -> None:
        """Writes the file list of a pinned preset."""
        names = [file.name.encode("utf-8", "backslashreplace").decode() for file in files]  # a service may list any
        listed = [
            {"name": name, "size": file.size, "digest": file.digest} for name, file in zip(names, files, strict=True)
        ]
        self._write(preset_path(self.root, handle), {"handle": str(handle), "files": listed})

    def put_ref(self, handle: PresetHandle, pinned: PresetHandle) -> None:
        """Writes the pinned handle of an unpinned handle."""
        self._write(ref_path(self.root, handle), {"handle": str(handle), "pinned": str(pinned)})

    def stage(self, folder: str, key: str) -> Path:
        """Creates an empty file with a unique name."""
        with self.translate_os_errors():
            make_folder(self.root, self.root / folder)
            path = self.root / folder / unfinished_name(key)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600))
            return path

    def claim_partial(self, abandoned: Path, key: str) -> Path | None:
        """Claims another process's partial download: returns its path under a name of this process, or None on failure.

        The file is renamed if its process has ended for certain, and copied if the process may still run.
        """
        target = abandoned.with_name(unfinished_name(key))
        try:
            if not is_regular_file(abandoned, None) or not os.access(abandoned, os.R_OK | os.W_OK):
                return None
            if is_surely_abandoned(abandoned):
                abandoned.rename(target)
                os.utime(target)  # renews the lease
                return target
            shutil.copyfile(abandoned, target)
        except OSError:
            target.unlink(missing_ok=True)
            return None
        return target

    @contextlib.contextmanager
    def translate_os_errors(self) -> Iterator[None]:
        """Raises errors of the file system as CacheError."""
        try:
            yield
        except VertebraError:  # some are OSErrors, too
            raise
        except OSError as error:
            if error.errno in _UNWRITABLE:
                problem, remedy = "it is not writable", "Set VERTEBRA_CACHE to a folder that you may write to"
            elif error.errno in _FULL:
                problem, remedy = (
                    "the disk is full",
                    "Free some space, run vertebra cache prune, or set VERTEBRA_CACHE to another disk",
                )
            else:
                problem, remedy = str(error), "Check the folder, or set VERTEBRA_CACHE to another one"
            raise CacheError(self.root, problem, remedy) from error

    def partials(self, key: str = "*") -> list[Path]:
        """Returns the paths of the partial files of a key, running or abandoned."""
        return [path for path in entries(self.root / "partial") if fnmatchcase(path.name, f"{key}.*.tmp")]

    def folders(self) -> tuple[Path, ...]:
        """Returns the folders that are searched, in this order."""
        return (*self.tiers, self.root)

    def _remove_abandoned_entries(self) -> None:
        """Removes abandoned manifest entries. Partial downloads are kept: they are resumed, or removed by `prune`."""
        with contextlib.suppress(OSError):
            for path in self.partials(_ENTRY):
                if is_abandoned(path, time.time(), _LEASE):
                    path.unlink(missing_ok=True)

    def _write(self, target: Path, entry: dict[str, Any]) -> None:
        self._remove_abandoned_entries()
        stage = self.stage("partial", _ENTRY)
        with self.translate_os_errors():
            try:
                stage.write_bytes(dump_json(entry))
                stage.chmod(0o644)  # readable by all users, as blobs are: a tier may belong to another user
                sync(stage)
                make_folder(self.root, target.parent)
                stage.replace(target)
                sync_folder(target.parent)
            finally:
                stage.unlink(missing_ok=True)


def _is_as_listed(blob: Path, file: PresetFile) -> bool:
    """Returns whether a blob that was not verified has the size and, if there is one now, the digest of its source."""
    return blob.stat().st_size == file.size and digest_of(blob, file.digest).mismatch() is None
