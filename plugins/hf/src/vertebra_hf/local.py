"""What the hub's own client keeps on this machine, in the user's Hugging Face cache; nobody is asked.

There, `refs/` says which commit a branch was when the client last looked, `snapshots/COMMIT/` has the files that it
fetched, and each of these is a link to a content that is named by its hash.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from vertebra import PresetFile, PresetHandle, Snapshot
from vertebra_hf.hub import importing

COMMIT = re.compile(r"[0-9a-f]{40}")
_ALGORITHMS = {40: "git", 64: "sha256"}
"""By the length of a content's name."""


def external_file(repo: str, name: str, commit: str | None) -> Path | None:
    """Returns where a file of a repository is."""
    with importing():
        from huggingface_hub import try_to_load_from_cache
    found = try_to_load_from_cache(repo, name, revision=commit)
    return Path(found) if isinstance(found, str) else None


def external_snapshot(handle: PresetHandle, repo: str, folder: str) -> Snapshot | None:
    """Returns what there is of a preset, which need not be all of it; None if there is nothing.

    Args:
        handle: The preset.
        repo: Its repository.
        folder: Where in it: empty, or with a slash at the end.
    """
    with importing():
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name
    place = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
    commit = _commit(place, handle.revision)
    root = place / "snapshots" / str(commit) / folder
    files = [] if commit is None else [file for path in sorted(root.rglob("*")) if (file := _described(root, path))]
    return Snapshot(replace(handle, revision=commit), files) if files else None


def _commit(place: Path, revision: str | None) -> str | None:
    if COMMIT.fullmatch(revision or ""):
        return revision
    try:
        commit = (place / "refs" / (revision or "main")).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _described(root: Path, path: Path) -> PresetFile | None:
    """Returns a file by what its content is called; one that is no link is not vouched for."""
    try:
        name, size = path.readlink().name, path.stat().st_size
    except (OSError, ValueError):
        return None
    algorithm = _ALGORITHMS.get(len(name)) if re.fullmatch("[0-9a-f]+", name) else None
    return PresetFile(path.relative_to(root).as_posix(), size, None, f"{algorithm}:{name}") if algorithm else None
