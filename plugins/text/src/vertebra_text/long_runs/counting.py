"""Counts the records of files, for the progress of a run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from vertebra_text.long_runs.reading import kind_of

_BLOCK = 2**20


def count_records(sources: Sequence[str], kind: str | None = None) -> int | None:
    """Returns the number of records in files, or None if it is not known, as for standard input.

    It is for display only: a file that cannot be read is an error when its records are read.

    Args:
        sources: Paths, or `-`.
        kind: As in `read_records`.
    """
    counts = []
    for source in sources:
        if not Path(source).is_file():  # a pipe can be read once
            return None
        try:
            counts.append(_count(Path(source), kind or kind_of(source)))
        except (OSError, ValueError, csv.Error, ImportError):
            return None
    return sum(counts)


def _count(path: Path, kind: str) -> int:
    if kind == "parquet":
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(path).num_rows)
    if kind in ("csv", "tsv"):
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t" if kind == "tsv" else ",", strict=True)
            return max(sum(1 for row in rows if row) - 1, 0)
    return _count_lines(path)


def _count_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")
