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
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vertebra._cache.layout import blob_path, file_path, is_sound, preset_path, ref_path, sha256_of
from vertebra._cache.manifest import Record, file_list_in, read_entry, record_in, ref_in
from vertebra._cache.ownership import _unfinished_name, is_abandoned, is_surely_abandoned
from vertebra._cache.revisions import IsRevision, tell_misnamed
from vertebra._system.atomic_save import sync, sync_folder
from vertebra._system.strict_json import dump_json
from vertebra.errors import CacheError, VertebraError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENTRY = "note"
_LEASE = 3600.0
"""Seconds after which what somebody on another machine began counts as abandoned."""


class Store:
    """One cache folder, and folders of the same layout that are only read."""

    def __init__(self, root: Path, tiers: Sequence[Path] = ()) -> None:
        self.root = root
        self.tiers = tuple(tiers)

    # === Reading ===

    def blob(self, sha256: str, size: int | None) -> Path | None:
        """Returns where a content stands, if it does with the right size; what is damaged is passed over."""
        for root in self.folders():
            path = blob_path(root, sha256)
            if is_sound(path, size):
                return path
        return None

    def record(self, handle: PresetHandle, name: str) -> Record | None:
        """Returns which content a file of a pinned preset has, if that is known."""
        for root in self.folders():
            entry = read_entry(file_path(root, handle, name))
            if (
                entry
                and (entry.get("handle"), entry.get("name")) == (str(handle), name)
                and (found := record_in(entry))
            ):
                return found
        return None

    def find(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns where a file of a pinned preset stands, or None if it must be fetched."""
        known = self.record(handle, file.name)
        expected = sha256_of(file)
        if known is None and expected is None:
            return None
        if known is not None and (expected in (None, known.sha256)):
            return self.blob(known.sha256, known.size)
        return self.blob(expected, file.size) if expected else None

    def file_list(self, handle: PresetHandle) -> list[PresetFile] | None:
        """Returns the files of a pinned preset, or None if nobody has listed them."""
        for root in self.folders():
            entry = read_entry(preset_path(root, handle))
            if entry and entry.get("handle") == str(handle) and (listed := file_list_in(entry)) is not None:
                return listed
        return None

    def ref(self, handle: PresetHandle, is_revision: IsRevision) -> PresetHandle | None:
        """Returns what an unpinned handle meant when it was last looked up.

        Args:
            handle: The unpinned handle.
            is_revision: Tells whether a pinned handle is of the preset that another one names. A note by which it is
                not would give one preset the name of another: it is told and not used.
        """
        for root in (self.root, *self.tiers):  # the newest is the user's own
            entry = read_entry(ref_path(root, handle))
            if entry and entry.get("handle") == str(handle) and (pinned := ref_in(entry)):
                if is_revision(pinned, handle):
                    return pinned
                tell_misnamed("cache" if root == self.root else "cache tier", root, pinned, handle)
        return None

    # === Writing ===

    def put_blob(self, stage: Path, sha256: str) -> Path:
        """Moves a complete file, whose content has been checked, to its place."""
        target = blob_path(self.root, sha256)
        with self.translate_os_errors():
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
        with self.translate_os_errors():
            root = self.root / folder
            root.mkdir(parents=True, exist_ok=True)
            path = root / _unfinished_name(key)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600))
            return path

    def claim_partial(self, abandoned: Path, key: str) -> Path | None:
        """Returns what somebody had of a file, under a name of this process's own; None if that cannot be.

        It is moved, so that there is never a second one; of somebody who may be alive after all, a copy is made.
        """
        target = abandoned.with_name(_unfinished_name(key))
        try:
            if not is_sound(abandoned, None) or not os.access(abandoned, os.R_OK | os.W_OK):
                return None
            if is_surely_abandoned(abandoned):
                abandoned.rename(target)
                os.utime(target)  # for others it is at work from now on
                return target
            shutil.copyfile(abandoned, target)
        except OSError:
            target.unlink(missing_ok=True)
            return None
        return target

    @contextlib.contextmanager
    def translate_os_errors(self) -> Iterator[None]:
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

    def folders(self) -> tuple[Path, ...]:
        """Returns the folders that are looked into, in this order."""
        return (*self.tiers, self.root)

    def _remove_abandoned_entries(self) -> None:
        """Removes notes that somebody was stopped at; contents are gone on from, or removed by pruning."""
        with contextlib.suppress(OSError):
            for path in self.partials(_ENTRY):
                if is_abandoned(path, time.time(), _LEASE):
                    path.unlink(missing_ok=True)

    def _write(self, target: Path, facts: dict[str, Any]) -> None:
        self._remove_abandoned_entries()
        stage = self.stage("partial", _ENTRY)
        with self.translate_os_errors():
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


# === Notes ===


# === Who is at work ===
