"""What a block of code takes: its time, and how far the memory of the process grows while it runs.

Needs Linux, and nothing but the standard library: children of every environment import it.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

STATM, STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
INTERVAL = 0.002


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Measures a block: yields a table that is filled when the block ends.

    `seconds` is its wall time. `rss_mb` is the growth of the peak resident memory over what was resident before, in
    MiB; the kernel keeps that peak, pages of mapped files included. `anonymous_mb` is the same for memory that no file
    backs (RssAnon); the kernel keeps no peak of it, so it is sampled every 2 ms.
    """
    figures: dict[str, float] = {}
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, from what is resident now
    rss, anonymous = peak_rss_mb(), anonymous_mb()
    with sampled(anonymous_mb) as samples:
        start = time.perf_counter()
        yield figures
        figures["seconds"] = time.perf_counter() - start
    figures["rss_mb"] = peak_rss_mb() - rss
    figures["anonymous_mb"] = max(samples) - anonymous


def peak_rss_mb() -> float:
    return int(STATUS.read_text().split("VmHWM:")[1].split()[0]) / 1024


def anonymous_mb() -> float:
    _, resident, of_files, *_ = STATM.read_text().split()
    return (int(resident) - int(of_files)) * PAGE_MB


@contextlib.contextmanager
def sampled(read) -> Iterator[list[float]]:
    """Calls a function again and again while the block runs, and once after it."""
    samples: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(INTERVAL):
            samples.append(read())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    yield samples
    ended.set()
    thread.join()
    samples.append(read())
