"""Locks that save work: whoever finds one taken waits for what its holder fetches, as long as that one is at work."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from vertebra._cache.store import Store

LEASE = 120.0
"""Seconds without a sign of life after which nobody waits for a holder any longer: more than the longest break between
two attempts, and than a service may take to answer."""
_POLL = 0.5


@contextlib.contextmanager
def download_lock(store: Store, key: str, cancelled: threading.Event) -> Iterator[None]:
    """Waits until nobody else is at work on a key, or the user has interrupted the whole.

    Nothing depends on it: where locks do not work, or their holder has stopped, the work is done twice.
    """
    from filelock import FileLock, Timeout

    lock, began = None, time.time()
    with contextlib.suppress(OSError, NotImplementedError):  # a folder that is only read, a file system without locks
        folder = store.root / "locks"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / f"{key}.lock", mode=0o600)
        while True:
            try:
                lock.acquire(timeout=_POLL)
                break
            except Timeout:
                if cancelled.is_set():
                    break
                if time.time() - max(began, _last_sign(store, key)) > LEASE:
                    _tell(store, key)
                    break
    try:
        yield
    finally:
        if lock is not None and lock.is_locked:
            with contextlib.suppress(OSError):  # it goes with this process
                lock.release()


def _last_sign(store: Store, key: str) -> float:
    signs = [0.0]
    for path in store.partials(key):
        with contextlib.suppress(OSError):
            signs.append(path.stat().st_mtime)
    return max(signs)


def _tell(store: Store, key: str) -> None:
    holders = {path.name.split(".")[1].rpartition("-")[2] for path in store.partials(key)}
    who = f"process {', '.join(sorted(holders))}" if holders else "its holder"
    logging.getLogger("vertebra").warning(
        "The cache's lock %s is taken, and %s has not moved for %.0f s; going on without it", key, who, LEASE
    )
