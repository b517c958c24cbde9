"""Reads records with texts: lines of text, JSON lines, CSV, and Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vertebra.errors import ArgumentError, close_names
from vertebra_text.long_runs.errors import OutputError

STDIN = "-"
KINDS = {".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
"""The kind of a file by its suffix; other files are lines of text."""
_LONGEST = 2**24
"""Most bytes of one line, so that a file without line breaks does not fill the memory."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the input."""

    source: str
    """The file."""
    number: int
    """The position in the file, from 1: for lines the number of the line."""
    text: Any
    """The text, or a tuple of two texts; None if there is a problem."""
    problem: str = ""
    """Why the record has no text."""


def read_records(sources: Sequence[str], columns: Sequence[str], kind: str | None = None) -> Iterator[Record]:
    """Yields the records of files, one after the other.

    Args:
        sources: Paths, or `-` for standard input.
        columns: The columns or fields with the text, or with the two texts of a pair; ignored for lines of text.
        kind: One of the values of `KINDS`, or None to tell it by the suffix.

    Raises:
        ArgumentError: a file has no such column, or a kind has no pairs.
        OutputError: a file cannot be opened.
    """
    for source in sources:
        its_kind = kind or kind_of(source)
        if its_kind == "parquet":
            yield from _parquet(source, columns)
            continue
        with _opened(source) as file:
            yield from _READERS[its_kind](source, file, columns)


def kind_of(source: str) -> str:
    """Returns the kind of a file by its suffix.

    Raises:
        ArgumentError: the suffix is that of a JSON document, whose lines are no texts.
    """
    if Path(source).suffix.lower() == ".json":
        expected = "JSON lines, one object in each; if it has them, pass --format jsonl"
        raise ArgumentError("Reading records", "input", source, expected)
    return KINDS.get(Path(source).suffix.lower(), "text")


def _opened(source: str) -> BinaryIO:
    if source == STDIN:
        return sys.stdin.buffer
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise OutputError(source, f"it cannot be opened ({error.strerror})", "Correct the path") from error


def _lines(source: str, file: BinaryIO) -> Iterator[Record]:
    """Yields lines as texts, without their ends."""
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            yield Record(source, number, None, f"it has more than {_LONGEST:,} bytes")
            while line and not line.endswith(b"\n"):
                line = file.readline(_LONGEST)
            continue
        try:
            yield Record(source, number, line.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            yield Record(source, number, None, f"byte {error.start + 1:,} is not UTF-8")


def _text(source: str, file: BinaryIO, columns: Sequence[str]) -> Iterator[Record]:
    if len(columns) > 1:
        raise ArgumentError("read_records", "kind", "text", "jsonl, csv or parquet, for pairs of texts")
    yield from _lines(source, file)


def _jsonl(source: str, file: BinaryIO, columns: Sequence[str]) -> Iterator[Record]:
    for record in _lines(source, file):
        yield record if record.problem else _of_json(record, columns)


def _of_json(record: Record, columns: Sequence[str]) -> Record:
    try:
        row = json.loads(record.text)
    except (ValueError, RecursionError) as error:
        return Record(record.source, record.number, None, f"it is not JSON ({error})")
    if isinstance(row, str) and len(columns) == 1:
        row = {columns[0]: row}
    if not isinstance(row, dict):
        return Record(record.source, record.number, None, f"it is not a JSON object but {type(row).__name__}")
    return _of_row(record.source, record.number, row, columns)


def _of_row(source: str, number: int, row: dict[str, Any], columns: Sequence[str]) -> Record:
    for column in columns:
        if not isinstance(row.get(column), str):
            near = close_names(column, [str(name) for name in row]) if column not in row else []
            hint = f"; did you mean {near[0]!r}?" if near else ""
            found = "missing" if column not in row else f"{row[column]!r:.50}, expected a text"
            return Record(source, number, None, f"its field {column!r} is {found}{hint}")
    texts = tuple(row[column] for column in columns)
    return Record(source, number, texts[0] if len(texts) == 1 else texts)


def _csv(source: str, file: BinaryIO, columns: Sequence[str], delimiter: str = ",") -> Iterator[Record]:
    # A byte that is no UTF-8 becomes a surrogate, so that it spoils its own record only.
    with io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as lines:
        yield from _csv_rows(source, lines, columns, delimiter)


def _csv_rows(source: str, lines: Any, columns: Sequence[str], delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # of all readers; Python's own limit is 128 KiB
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows = (row for row in _parsed(reader) if row != [])
    names = next(rows, [])
    if isinstance(names, str):
        raise OutputError(source, f"its first row {names.removeprefix('it ')}", "Correct the file")
    _require_columns(source, names, columns)
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            yield Record(source, number, None, row)
            continue
        record = _of_row(source, number, dict(zip(names, row, strict=False)), columns)
        yield (
            record if record.problem or _is_unicode(record.text) else Record(source, number, None, "it is not UTF-8")
        )


def _parsed(reader: Any) -> Iterator[list[str] | str]:
    """Yields the rows of a reader, or the problem of each that is not CSV; the reader goes on with the next line."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"it is not CSV (line {reader.line_num:,}: {error})"


def _is_unicode(text: Any) -> bool:
    joined = text if isinstance(text, str) else "".join(text)
    return not any("\udc80" <= character <= "\udcff" for character in joined)


def _require_columns(source: str, names: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            raise OutputError(
                source, f"it has no column {column!r}; its columns are {', '.join(names)}", "Name another"
            )


def _parquet(source: str, columns: Sequence[str]) -> Iterator[Record]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        remedy = "Run: pip install 'vertebra-text[parquet]'"
        raise OutputError(source, "Parquet files need pyarrow, which is not installed", remedy) from error
    try:
        file = pyarrow.parquet.ParquetFile(source)
    except (OSError, pyarrow.ArrowException) as error:
        raise OutputError(source, f"it cannot be read as Parquet ({error})", "Correct the path") from error
    _require_columns(source, file.schema_arrow.names, columns)
    number = 0
    for batch in file.iter_batches(columns=list(columns)):
        for row in batch.to_pylist():
            number += 1
            yield _of_row(source, number, row, columns)


_READERS: dict[str, Callable[[str, BinaryIO, Sequence[str]], Iterator[Record]]] = {
    "text": _text,
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": lambda source, file, columns: _csv(source, file, columns, "\t"),
}
