"""The cache folder and its tiers, from the user's settings."""

from __future__ import annotations

from pathlib import Path

from vertebra._cache.folders import warn_if_open
from vertebra._cache.store import Store
from vertebra._configuration.settings import settings
from vertebra._system.user_paths import not_a_folder
from vertebra.errors import CacheError


def default_store() -> Store:
    """Returns the store of this process."""
    root = cache_folder()
    warn_if_open(root)
    return Store(root, [Path(tier) for tier in settings().cache_tiers])


def cache_folder() -> Path:
    """Returns the cache folder that is written to: `VERTEBRA_CACHE`, or the system's cache folder.

    Raises:
        CacheError: the system has no such folder, or its path is not a folder. (A path of the settings is checked when
            they are read.)
    """
    chosen = settings().cache
    if chosen:
        return Path(chosen)
    path = system_folder()
    if path is None:
        raise CacheError("~", "this user has no home folder, and so no cache", "Set VERTEBRA_CACHE to a folder")
    problem = not_a_folder(path)
    if problem:
        raise CacheError(path, problem, "Remove it, or set VERTEBRA_CACHE to another folder")
    return path


def system_folder() -> Path | None:
    """Returns the system's folder for the cache, or None for a user without a home folder, as in some containers."""
    import platformdirs  # slow; not needed if a folder is set

    try:
        return Path(platformdirs.user_cache_dir("vertebra", appauthor=False))
    except RuntimeError:
        return None
