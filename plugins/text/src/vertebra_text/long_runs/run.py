"""Runs a task over records, with a journal and with progress."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra_text.errors import ItemError
from vertebra_text.long_runs.errors import RecordError
from vertebra_text.long_runs.journal import Journal
from vertebra_text.long_runs.progress import Progress
from vertebra_text.long_runs.reading import Record
from vertebra_text.long_runs.writing import form_of

WINDOW = 1024
"""The number of records that are read and answered together, after which the journal is written, by default."""
Stream = Callable[[Iterable[Any]], Iterator[Any]]
"""Yields the answer for each text as a dict, or an `ItemError`, as `Task.stream` does."""


_MOST_TOLD = 20


@dataclass(slots=True)
class Summary:
    """What a run did."""

    records: int = 0
    """The records of the output, those of earlier runs included."""
    continued: int = 0
    """The records whose answers an earlier run computed."""
    bad: list[str] = field(default_factory=list)
    """The first records without an answer, with the problem."""
    bad_count: int = 0


def run(
    records: Iterable[Record],
    stream: Stream,
    out: Path,
    job: Mapping[str, Any],
    *,
    width: int = 0,
    skip_bad: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
    window: int | None = None,
) -> Summary:
    """Writes the answer for each record, in order; a run that is repeated goes on where it was interrupted.

    Args:
        records: The records.
        stream: The task: `Task.stream` in windows of `WINDOW`, which yields errors in place of missing answers.
        out: The output, whose suffix says its form.
        job: The settings of the run, to recognise an interrupted one.
        width: The number of values in a vector, or 0 for answers that are not vectors.
        skip_bad: Whether records without an answer get one with the field `error`, instead of ending the run.
        restart: Whether to begin again.
        progress: Is told how many records are done.
        window: The number of answers after which the journal is written, or None for `WINDOW`.

    Raises:
        RecordError: a record has no answer, and `skip_bad` is False; the records before it are in the journal.
        OutputError: the output cannot be written, or an interrupted run is of another job.
    """
    form, summary = form_of(out, width), Summary()
    journal = Journal(out, job, restart)
    try:
        remaining = iter(records)
        for record in itertools.islice(remaining, journal.records):
            journal.skip(record.text)
        journal.check_skipped()
        summary.continued = journal.records
        if progress is not None:
            progress.begin(journal.records)
        for pairs in _windows(remaining, stream, window or WINDOW):
            complete, bad = pairs, None
            if not skip_bad:
                complete, bad = _until_bad(pairs)
            if complete:
                answers = [_answer(record, answer, summary) for record, answer in complete]
                journal.write([record.text for record, _ in complete], form.encode(answers))
            if bad is not None:
                raise bad
            if progress is not None:
                progress.advance(len(complete))
    finally:
        journal.close()
    summary.records = journal.records
    form.finish(journal.partial, out)
    journal.remove()
    return summary


def _windows(records: Iterator[Record], stream: Stream, window: int) -> Iterator[list[tuple[Record, Any]]]:
    """Yields windows of records with their answers."""
    kept, read = itertools.tee(records)
    answered = zip(kept, stream(_item(record) for record in read), strict=True)
    while pairs := list(itertools.islice(answered, window)):
        yield pairs


def _item(record: Record) -> Any:
    """Returns the text of a record; without a text, an error that the stream passes on."""
    return ValueError(record.problem) if record.problem else record.text


def _until_bad(pairs: list[tuple[Record, Any]]) -> tuple[list[tuple[Record, Any]], RecordError | None]:
    """Returns the records before the first one without an answer, and the error of that one."""
    for number, (record, answer) in enumerate(pairs):
        if isinstance(answer, ItemError):
            return pairs[:number], RecordError(record.source, record.number, answer.problem)
    return pairs, None


def _answer(record: Record, answer: Any, summary: Summary) -> Mapping[str, Any]:
    """Returns the answer for a record; one without an answer gets its problem."""
    if not isinstance(answer, ItemError):
        found: Mapping[str, Any] = answer
        return found
    summary.bad_count += 1
    if len(summary.bad) < _MOST_TOLD:
        summary.bad.append(f"{record.source}, record {record.number:,}: {answer.problem}")
    return {"error": f"record {record.number}: {answer.problem}"}
