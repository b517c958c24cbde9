"""The bandwidth of a machine's memory: reads numbers in a thread for each core, once for each line on stdin.

The answer to a line is the bytes read in a second, by the fastest of several ways to read.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SIZE = 2**30
"""Bytes, many times those of the processor's caches."""


def main() -> None:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = np.array_split(np.ones(SIZE // 8, "int64"), threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in sys.stdin:
            print(
                json.dumps(max(rate(pool, read, parts) for read in (np.max, np.sum, np.bitwise_or.reduce))), flush=True
            )


def rate(pool: ThreadPoolExecutor, read, parts: list) -> float:
    """Returns the bytes that all threads together read in a second."""
    start = time.perf_counter()
    list(pool.map(read, parts))
    return sum(part.nbytes for part in parts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
