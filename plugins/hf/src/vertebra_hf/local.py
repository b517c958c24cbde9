"""Files in the user's Hugging Face cache, which the hub's own client writes; this module uses no network.

In that cache, `refs/` records the commit of each branch at its last download, and `snapshots/COMMIT/` has the
downloaded files. Each of them is a link to a blob whose name is its hash.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from vertebra import PresetFile, PresetHandle, Snapshot
from vertebra_hf.hub import importing

COMMIT = re.compile(r"[0-9a-f]{40}")
_ALGORITHMS = {40: "git", 64: "sha256"}
"""Hash algorithms, by the length of a blob's name."""


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
    with importing():
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name
    repo_cache = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
    commit = _commit(repo_cache, handle.revision)
    root = repo_cache / "snapshots" / str(commit) / folder
    files = [] if commit is None else [file for path in sorted(root.rglob("*")) if (file := _preset_file(root, path))]
    return Snapshot(replace(handle, revision=commit), files) if files else None


def _commit(repo_cache: Path, revision: str | None) -> str | None:
    if COMMIT.fullmatch(revision or ""):
        return revision
    try:
        commit = (repo_cache / "refs" / (revision or "main")).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _preset_file(root: Path, path: Path) -> PresetFile | None:
    """Returns a file with the digest that its blob is named by, or None if it is not a link to a blob."""
    try:
        name, size = path.readlink().name, path.stat().st_size
    except (OSError, ValueError):
        return None
    algorithm = _ALGORITHMS.get(len(name)) if re.fullmatch("[0-9a-f]+", name) else None
    return PresetFile(path.relative_to(root).as_posix(), size, None, f"{algorithm}:{name}") if algorithm else None
