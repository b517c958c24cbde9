"""Download locks: a process that finds a lock taken waits for the holder's download while its lease is renewed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from vertebra._cache.folders import make_folder
from vertebra._cache.store import Store
from vertebra._system.log import log

LEASE = 120.0
"""Seconds since the last write of the holder after which a waiting process goes on without the lock: longer than the
longest wait between two attempts, and than a service may take to answer."""
_POLL = 0.5


@contextlib.contextmanager
def download_lock(store: Store, key: str, cancelled: threading.Event) -> Iterator[None]:
    """Waits for the download lock of a key, until the holder's lease expires or the user cancels.

    Correctness does not depend on the lock: without it, the same file may be downloaded twice.
    """
    from filelock import FileLock, Timeout

    lock, began = None, time.time()
    with contextlib.suppress(OSError, NotImplementedError):  # a read-only folder, a link, or no locks in a file system
        folder = store.root / "locks"
        make_folder(store.root, folder, mode=0o700)
        lock = FileLock(folder / f"{key}.lock", mode=0o600)
        while True:
            try:
                lock.acquire(timeout=_POLL)
                break
            except Timeout:
                if cancelled.is_set():
                    break
                if time.time() - max(began, _last_write(store, key)) > LEASE:
                    _warn_expired(store, key)
                    break
    try:
        yield
    finally:
        if lock is not None and lock.is_locked:
            with contextlib.suppress(OSError):  # the lock is released when this process ends
                lock.release()


def _last_write(store: Store, key: str) -> float:
    times = [0.0]
    for path in store.partials(key):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)


def _warn_expired(store: Store, key: str) -> None:
    holders = {path.name.split(".")[1].rpartition("-")[2] for path in store.partials(key)}
    holder = f"process {', '.join(sorted(holders))}" if holders else "its holder"
    log.warning(
        "The download lock %s is taken, but %s has written nothing for %.0f s; continuing without the lock",
        *(key, holder, LEASE),
    )
