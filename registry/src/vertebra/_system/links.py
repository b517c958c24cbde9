"""Links that lead out of a preset's folder: followed for reading, and never for publishing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

_LEAST_PARTS = 3
"""Fewest parts of a store's path, as in `/nix/store`: a folder of the root is no store, but a part of the system."""


def targets_outside(paths: Mapping[str, Path]) -> dict[str, str]:
    """Returns the file that each path leads to, where that is outside the folder of the preset.

    Args:
        paths: Paths of existing files, by their names below that folder, with `/` between segments.
    """
    targets = {}
    for name, path in paths.items():
        target = path.resolve()
        if not target.is_relative_to(path.parents[name.count("/")].resolve()):
            targets[name] = str(target)
    return targets


def outside_store(links: Mapping[str, str], known: Iterable[Path], folder: Path) -> dict[str, str]:
    """Returns the links that do not lead to the store of a preset: one may have been planted, to a private file.

    A store, such as the cache of a hub's client or of DVC, is the folder where the links of the preset's config and
    weights lead.

    Args:
        links: The target of each link that leads out of the preset's folder, by name.
        known: Paths of the preset's config and weights.
        folder: The preset's folder.
    """
    root = folder.resolve()
    targets = [target.parent for path in known if not (target := path.resolve()).is_relative_to(root)]
    if len({target.anchor for target in targets}) != 1:
        return dict(links)
    store = Path(os.path.commonpath(targets))
    if any(path.is_relative_to(store) for path in (root, Path.home().resolve())) or len(store.parts) < _LEAST_PARTS:
        return dict(links)
    return {name: target for name, target in links.items() if not Path(target).is_relative_to(store)}


def reading_problem(path: Path) -> str | None:
    """Returns why a path cannot be read as a regular file, or None if it can; links are followed.

    Raises:
        OSError: there is neither a file nor a link at the path, or its folder may not be read.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if not path.is_symlink():
            raise
        if isinstance(error, FileNotFoundError):
            return f"is a link to {path.readlink()}, which does not exist"
        return f"is a link to {path.readlink()}, which cannot be read ({error.strerror})"
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "is a folder whose files are not read"
    return "is a pipe, a socket or a device, expected a regular file"
