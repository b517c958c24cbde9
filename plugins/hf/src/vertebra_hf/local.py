"""Files in the user's Hugging Face cache, which the hub's own client writes; this module uses no network.

In that cache, `refs/` records the commit of each branch at its last download, and `snapshots/COMMIT/` has the
downloaded files. Each of them is a link to a blob whose name is its hash; in a cache that was copied without links, and
on systems without links, it is the file itself, and there is no hash.
"""

from __future__ import annotations

import contextlib
import logging
import re
import stat
from dataclasses import replace
from pathlib import Path

from vertebra import PresetFile, PresetHandle, Snapshot
from vertebra_hf.hub import importing

COMMIT = re.compile(r"[0-9a-f]{40}")
_ALGORITHMS = {40: "git", 64: "sha256"}
"""Hash algorithms, by the length of a blob's name."""
_MAIN = "main"
_MOST_BYTES = 1_000
"""More than a record of a commit has."""


def external_file(repo: str, name: str, commit: str | None) -> Path | None:
    """Returns the path of a repository's file in the Hugging Face cache, or None if it is not there."""
    with importing():
        from huggingface_hub import try_to_load_from_cache
    path = try_to_load_from_cache(repo, name, revision=commit)
    return Path(path) if isinstance(path, str) else None


def external_snapshot(handle: PresetHandle, repo: str, folder: str) -> Snapshot | None:
    """Returns the files of a preset in the Hugging Face cache, which may be incomplete; None if there are none.

    Args:
        handle: The preset.
        repo: Its repository.
        folder: Its folder in the repository: empty, or with a slash at the end.
    """
    commit = _commit(handle, repo)
    root = _snapshots(repo) / str(commit) / folder
    files = [] if commit is None else [file for path in sorted(root.rglob("*")) if (file := _preset_file(root, path))]
    return Snapshot(replace(handle, revision=commit), files) if files else None


def cached_commits(repo: str) -> list[str]:
    """Returns the commits of a repository that the Hugging Face cache has files of."""
    with contextlib.suppress(OSError):
        commits = [path for path in _snapshots(repo).iterdir() if COMMIT.fullmatch(path.name)]
        return sorted(commit.name for commit in commits if any(path.is_file() for path in commit.rglob("*")))
    return []


def _snapshots(repo: str) -> Path:
    with importing():
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"), "snapshots")


def _commit(handle: PresetHandle, repo: str) -> str | None:
    """Returns the commit that a handle means, or the only one in the cache if it has no record of the main branch."""
    revision = handle.revision or _MAIN
    if COMMIT.fullmatch(revision):
        return revision
    try:
        commit = _record(_snapshots(repo).parent / "refs" / revision)
        return commit if COMMIT.fullmatch(commit) else None
    except UnicodeDecodeError:
        return None
    except OSError:
        commits = cached_commits(repo)
    if revision != _MAIN or len(commits) != 1:
        return None
    text = "%s: the Hugging Face cache does not record the commit of its main branch; the only one there, %s, is used"
    logging.getLogger("vertebra").warning(text, handle, commits[0])
    return commits[0]


def _record(path: Path) -> str:
    """Returns the commit in a record of the cache, or no text if it is no record; other users may write to the cache.

    Raises:
        OSError: there is no record, or it may not be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:  # opening a pipe would wait for its writer
        return ""
    return path.read_text().strip()


def _preset_file(root: Path, path: Path) -> PresetFile | None:
    """Returns a file with the digest by which its blob is named, or with its path; None if it is not a file."""
    try:
        if not path.is_file():
            return None
        name, size = path.relative_to(root).as_posix(), path.stat().st_size
        blob = path.readlink().name if path.is_symlink() else ""
    except OSError:  # it may not be read
        return None
    algorithm = _ALGORITHMS.get(len(blob)) if re.fullmatch("[0-9a-f]+", blob) else None
    return PresetFile(name, size, None, f"{algorithm}:{blob}") if algorithm else PresetFile(name, size, path)
