"""Where the cache is, as the user's settings say."""

from __future__ import annotations

from pathlib import Path

from vertebra._cache.store import Store
from vertebra._settings import settings


def store() -> Store:
    """Returns the store of this process."""
    return Store(cache_folder(), [Path(tier) for tier in settings().cache_tiers])


def cache_folder() -> Path:
    """Returns the folder that is written to: `VERTEBRA_CACHE`, or where the system keeps caches."""
    chosen = settings().cache
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("vertebra", appauthor=False))
