"""Runs a task over records: in chunks, with a journal, and with progress."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra_text.long_runs.errors import RecordError
from vertebra_text.long_runs.journal import Journal
from vertebra_text.long_runs.reading import Record
from vertebra_text.long_runs.writing import form_of

CHUNK = 1024
"""The number of records after which the journal is written."""
Answer = Callable[[Sequence[Any]], Sequence[Mapping[str, Any]]]
"""Computes the answers for texts, each as a dict."""


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
    answer: Answer,
    out: Path,
    job: Mapping[str, Any],
    *,
    width: int = 0,
    skip_bad: bool = False,
    restart: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Writes the answer for each record, in order; a run that is repeated goes on where it was interrupted.

    Args:
        records: The records.
        answer: The task.
        out: The output, whose suffix says its form.
        job: The settings of the run, to recognise an interrupted one.
        width: The number of values in a vector, or 0 for answers that are not vectors.
        skip_bad: Whether records without a text get an answer with the field `error`, instead of ending the run.
        restart: Whether to begin again.
        advance: Called with the number of records that were done.

    Raises:
        RecordError: a record has no text, and `skip_bad` is False; the records before it are in the journal.
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
        advance(journal.records)
        for chunk in _chunks(remaining):
            complete, bad = _until_bad(chunk, skip_bad)
            answers = _answers(complete, answer, summary)
            if complete:
                journal.write([record.text for record in complete], form.encode(answers))
            if bad is not None:
                raise RecordError(bad.source, bad.number, bad.problem)
            advance(len(complete))
    finally:
        journal.close()
    summary.records = journal.records
    form.finish(journal.partial, out)
    journal.remove()
    return summary


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while chunk := list(itertools.islice(records, CHUNK)):
        yield chunk


def _until_bad(chunk: list[Record], skip_bad: bool) -> tuple[list[Record], Record | None]:
    """Returns the records before the first one without a text, and that one."""
    for number, record in enumerate(chunk):
        if record.problem and not skip_bad:
            return chunk[:number], record
    return chunk, None


def _answers(records: Sequence[Record], answer: Answer, summary: Summary) -> list[Mapping[str, Any]]:
    """Returns an answer for each record; those without a text get their problem."""
    answers = iter(answer([record.text for record in records if not record.problem]))
    found: list[Mapping[str, Any]] = []
    for record in records:
        if record.problem:
            summary.bad_count += 1
            if len(summary.bad) < 20:
                summary.bad.append(f"{record.source}, record {record.number:,}: {record.problem}")
            found.append({"error": f"record {record.number}: {record.problem}"})
        else:
            found.append(next(answers))
    return found
