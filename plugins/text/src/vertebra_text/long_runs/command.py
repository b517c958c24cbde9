"""What commands share that answer the records of files: their options, the run, and its summary."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vertebra.errors import printable
from vertebra_text.long_runs.counting import count_records
from vertebra_text.long_runs.progress import shown
from vertebra_text.long_runs.reading import KINDS, Record, read_records
from vertebra_text.long_runs.run import run

Answers = Callable[[Iterable[Any], int], Iterator[Any]]
"""Takes texts, and the number of the records before them, whose answers an earlier run computed."""


def add_record_options(parser: Any) -> None:
    """Adds the options of commands that answer the records of files.

    `answer_records` also takes the arguments `input` (a list of paths), `output` (a `Path`) and `json`, which the
    command adds itself.

    Args:
        parser: The parser of the command.
    """
    parser.add_argument("--text-column", default="text", metavar="NAME", help="field with the text (default: text)")
    kinds = sorted(set(KINDS.values()))
    parser.add_argument("--format", choices=kinds, help="format of the input (default: by its suffix)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts in a batch (default: 32)")
    parser.add_argument("--skip-bad", action="store_true", help="go on after records that cannot be read")
    parser.add_argument("--restart", action="store_true", help="begin again instead of continuing an interrupted run")


def answer_records(
    args: argparse.Namespace,
    columns: Sequence[str],
    answers: Answers,
    job: Mapping[str, Any],
    *,
    width: int = 0,
    window: int | None = None,
) -> int:
    """Writes the answer for each record of the input files, in order, and prints a summary; returns the exit status.

    Until the output is complete, it is kept in a journal: the same command goes on after an interruption, and no record
    is lost or answered twice in the output.

    Args:
        args: The arguments of the command: those of `add_record_options`, `input`, `output` and `json`.
        columns: The fields with the text, or with the two texts of a pair.
        answers: Yields the answer for each text as a dict, or a `vertebra_text.ItemError`; it also gets the number of
            records before the first text. A text that could not be read is an exception.
        job: The settings that decide the answers, to recognise an interrupted run.
        width: The number of values in a vector, or 0 for answers that are not vectors.
        window: The number of answers after which the journal is written, or None for 1,024.

    Raises:
        VertebraError: a record cannot be read or answered, and `args.skip_bad` is False; or a file cannot be opened or
            written, or the interrupted run was another one.
    """
    records = _Counted(read_records(args.input, columns, args.format))
    with shown(count_records(args.input, args.format)) as progress:
        summary = run(
            records,
            lambda texts: answers(texts, records.count),
            args.output,
            job,
            width=width,
            skip_bad=args.skip_bad,
            restart=args.restart,
            progress=progress,
            window=window,
        )
    if args.json:
        print(json.dumps(asdict(summary) | {"output": str(args.output)}, indent=2))
    else:
        earlier = f", {summary.continued:,} of them by an earlier run" if summary.continued else ""
        print(printable(f"{args.output}: {summary.records:,} records{earlier}"))
    for line in summary.bad:
        print(f"warning: {printable(line)}", file=sys.stderr)
    if summary.bad_count > len(summary.bad):
        print(f"warning: and {summary.bad_count - len(summary.bad):,} more", file=sys.stderr)
    return 0


class _Counted:
    """Records, of which it counts those that have been read."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records, self.count = records, 0

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        record = next(self._records)
        self.count += 1
        return record
