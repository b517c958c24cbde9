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
        CacheError: the system's path is not a folder. (A path of the settings is checked when they are read.)
    """
    chosen = settings().cache
    if chosen:
        return Path(chosen)
    import platformdirs

    path = Path(platformdirs.user_cache_dir("vertebra", appauthor=False))
    problem = not_a_folder(path)
    if problem:
        raise CacheError(path, problem, "Remove it, or set VERTEBRA_CACHE to another folder")
    return path
