"""Counts the records of files, for the progress of a run."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vertebra_text.long_runs.reading import kind_of

_BLOCK, _ROWS = 2**20, 1000
"""Bytes and rows that are counted between two looks at the clock."""
_SECONDS = 1.0
"""The most that counting takes: for larger files the total is not known, as the run had better begin."""


def count_records(sources: Sequence[str], kind: str | None = None) -> int | None:
    """Returns the number of records in files, or None if it is not known: for a pipe, or if counting takes seconds.

    It is for display only: a file that cannot be read is an error when its records are read.

    Args:
        sources: Paths, or `-`.
        kind: As in `read_records`.
    """
    counts, deadline = [], time.monotonic() + _SECONDS
    for source in sources:
        if not Path(source).is_file():  # a pipe can be read once
            return None
        try:
            counts.append(_count(Path(source), kind or kind_of(source), deadline))
        except (OSError, ValueError, csv.Error, ImportError):
            return None
    return sum(counts)


def _count(path: Path, kind: str, deadline: float) -> int:
    if kind == "parquet":
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(path).num_rows)
    if kind in ("csv", "tsv"):
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t" if kind == "tsv" else ",", strict=True)
            parts = _in_time(iter(lambda: list(itertools.islice(rows, _ROWS)), []), deadline)
            return max(sum(sum(1 for row in part if row) for part in parts) - 1, 0)
    return _count_lines(path, deadline)


def _in_time(parts: Iterable[Any], deadline: float) -> Iterator[Any]:
    """Yields parts of a file; raises TimeoutError after the deadline."""
    for part in parts:
        if time.monotonic() > deadline:
            raise TimeoutError
        yield part


def _count_lines(path: Path, deadline: float) -> int:
    count, last = 0, b"\n"
    with path.open("rb") as file:
        for block in _in_time(iter(lambda: file.read(_BLOCK), b""), deadline):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")
