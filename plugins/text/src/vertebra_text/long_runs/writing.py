"""Forms of the output: JSON lines, CSV, Parquet, and vectors as a NumPy file."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from vertebra_text.long_runs.errors import OutputError

SUFFIXES = (".jsonl", ".csv", ".parquet", ".npy")
_ROWS = 10_000
"""Rows of a Parquet row group."""


class Form(Protocol):
    """How answers are kept in the journal, and how they become the output."""

    def encode(self, answers: Sequence[Any]) -> bytes:
        """Returns the bytes of answers in the journal."""

    def finish(self, partial: Path, out: Path) -> None:
        """Turns the journal's answers into the output, which appears complete or not at all."""


def form_of(out: Path, width: int = 0) -> Form:
    """Returns the form of an output by its suffix.

    Args:
        out: The output.
        width: The number of values in a vector, or 0 for answers that are not vectors.

    Raises:
        OutputError: the suffix is unknown, or `.npy` for answers that are not vectors.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES or (suffix == ".npy" and not width):
        usable = SUFFIXES if width else SUFFIXES[:-1]
        raise OutputError(out, f"its suffix is {suffix!r}", f"Write to a file that ends with {', '.join(usable)}")
    if suffix == ".npy":
        return Vectors(width)
    return {".jsonl": JsonLines, ".csv": Csv, ".parquet": Parquet}[suffix]()


class JsonLines:
    """One JSON object for each record."""

    def encode(self, answers: Sequence[Any]) -> bytes:
        return b"".join(json.dumps(answer, ensure_ascii=False).encode() + b"\n" for answer in answers)

    def finish(self, partial: Path, out: Path) -> None:
        partial.replace(out)


class Csv(JsonLines):
    """A table with the fields of the answers; lists and objects are JSON."""

    def finish(self, partial: Path, out: Path) -> None:
        columns = _columns(partial)
        with _replacing(out) as file:
            import io

            text = io.TextIOWrapper(file, "utf-8", newline="")
            writer = csv.DictWriter(text, columns)
            writer.writeheader()
            for row in _rows(partial):
                writer.writerow({name: _cell(value) for name, value in row.items()})
            text.flush()
            text.detach()


class Parquet(JsonLines):
    """A Parquet file."""

    def finish(self, partial: Path, out: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            remedy = "Run: pip install 'vertebra-text[parquet]', and the same command again"
            raise OutputError(out, "Parquet files need pyarrow, which is not installed", remedy) from error
        with _replacing(out) as file:
            writer = None
            for rows in _grouped(_rows(partial)):
                table = pyarrow.Table.from_pylist(rows, writer and writer.schema)
                writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema)
                writer.write_table(table)
            if writer is not None:
                writer.close()


class Vectors:
    """A NumPy file of float32 with one row for each record; rows without an answer are NaN."""

    def __init__(self, width: int) -> None:
        self._width = width

    def encode(self, answers: Sequence[Any]) -> bytes:
        vectors = [answer.get("embedding") for answer in answers]
        missing = np.full(self._width, np.nan)
        rows = [missing if vector is None else vector for vector in vectors]
        return np.asarray(rows, "<f4").tobytes()

    def finish(self, partial: Path, out: Path) -> None:
        width = self._width
        with _replacing(out) as file, partial.open("rb") as data:
            shape = (partial.stat().st_size // (4 * width), width)
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            while block := data.read(2**20):
                file.write(block)
        partial.unlink()


class _replacing:  # noqa: N801 (used as a function)
    """Writes a new file next to the output, and replaces the output when it is complete."""

    def __init__(self, out: Path) -> None:
        self._out, self._new = out, out.with_name(out.name + ".new")

    def __enter__(self) -> BinaryIO:
        self._file = self._new.open("wb")
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._new.replace(self._out)
        else:
            self._new.unlink(missing_ok=True)


def _rows(partial: Path) -> Iterator[dict[str, Any]]:
    with partial.open("rb") as file:
        yield from map(json.loads, file)


def _columns(partial: Path) -> list[str]:
    """Returns all fields of the answers, in the order in which they come first."""
    names: dict[str, None] = {}
    for row in _rows(partial):
        names |= dict.fromkeys(row)
    return list(names)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _grouped(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROWS:
            yield group
            group = []
    if group:
        yield group
