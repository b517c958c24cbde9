"""Repositories of a hub: files in commits, with branches and tags."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from servers.blobs import Blob, git_oid, is_large

EMPTY_COMMIT = "0" * 40


@dataclass(frozen=True)
class Commit:
    """The files of a repository at a time, by path."""

    sha: str
    files: Mapping[str, Blob]

    def listing(self, folder: str = "", recursive: bool = True) -> list[dict[str, Any]]:
        """Returns what a folder holds, as the tree endpoint tells it: folders first, in order of paths."""
        prefix = f"{folder}/" if folder else ""
        inside = {path: blob for path, blob in sorted(self.files.items()) if path.startswith(prefix)}
        folders = [parent for parent in _folders(inside) if parent.startswith(prefix)]
        entries = [_folder_entry(path) for path in folders] + [file_entry(*item) for item in inside.items()]
        return [entry for entry in entries if recursive or "/" not in entry["path"].removeprefix(prefix)]


def _folders(paths: Iterable[str]) -> list[str]:
    parts = [path.split("/")[:-1] for path in paths]
    return sorted({"/".join(names[:depth]) for names in parts for depth in range(1, len(names) + 1)})


def _folder_entry(path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": git_oid(path.encode()), "size": 0, "path": path}


def file_entry(path: str, blob: Blob) -> dict[str, Any]:
    """Returns a file as the tree endpoint tells it. The oid of a large one is that of its pointer."""
    entry = {"type": "file", "oid": oid(path, blob), "size": blob.size, "path": path}
    if is_large(path, blob.size):
        entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
    return entry


def sibling(path: str, blob: Blob, with_blobs: bool) -> dict[str, Any]:
    """Returns a file as the endpoint for a repository tells it, by its name only or with its hashes."""
    if not with_blobs:
        return {"rfilename": path}
    entry = {"rfilename": path, "size": blob.size, "blobId": oid(path, blob)}
    if is_large(path, blob.size):
        entry["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
    return entry


def oid(path: str, blob: Blob) -> str:
    return git_oid(blob.pointer) if is_large(path, blob.size) else blob.git_oid


@dataclass
class Repository:
    """A repository: `gated` is for those who were granted access, `private` for those with a token."""

    name: str
    private: bool = False
    gated: bool = False
    granted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        """Returns the commit that a hash, branch or tag names."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)

    def commit(self, changes: Mapping[str, Blob | None], branch: str = "main") -> Commit:
        """Adds a commit to a branch, new if need be: the files before, with changes; None removes one."""
        parent = self.commits.get(self.branches.get(branch, ""), Commit(EMPTY_COMMIT, {}))
        files = {path: blob for path, blob in {**parent.files, **changes}.items() if blob is not None}
        described = [self.name, len(self.commits), parent.sha, {path: blob.sha256 for path, blob in files.items()}]
        commit = Commit(hashlib.sha1(json.dumps(described).encode()).hexdigest(), files)
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit
