"""What other plugins' commands use for long runs: the options, the run and its summary."""

import argparse
import json
from pathlib import Path

import pytest

from vertebra_text import ItemError, add_record_options, answer_records
from vertebra_text.long_runs.errors import OutputError, RecordError


@pytest.fixture
def args(tmp_path):
    """Returns the arguments of a command for a file with a number of records."""

    def args(count, *words):
        (tmp_path / "in.txt").write_text("".join(f"text {number}\n" for number in range(count)))
        parser = argparse.ArgumentParser()
        parser.add_argument("--input", nargs="+", default=[str(tmp_path / "in.txt")])
        parser.add_argument("--output", type=Path, default=tmp_path / "out.jsonl")
        parser.add_argument("--json", action="store_true")
        add_record_options(parser)
        return parser.parse_args(words)

    return args


def numbered(texts, first):
    for number, text in enumerate(texts, first):
        yield {"number": number, "text": text}


def rows(args):
    return [json.loads(line) for line in args.output.read_text().splitlines()]


def test_answers_and_a_summary(args, capsys):
    found = args(5, "--json")
    assert answer_records(found, ["text"], numbered, {}) == 0
    assert rows(found) == [{"number": number, "text": f"text {number}"} for number in range(5)]
    assert json.loads(capsys.readouterr().out)["records"] == 5


def test_a_continued_run_knows_the_number_of_its_first_record(args, capsys):
    found = args(9)

    def fails(texts, first):
        for row in numbered(texts, first):
            yield row if row["number"] < 7 or first else ItemError(7, "it is wrong")

    with pytest.raises(RecordError, match="record 8: it is wrong"):
        answer_records(found, ["text"], fails, {}, window=3)
    answer_records(found, ["text"], fails, {}, window=3)
    assert [row["number"] for row in rows(found)] == list(range(9))
    assert "9 records, 7 of them by an earlier run" in capsys.readouterr().out


def test_the_journal_is_written_after_each_window(args):
    found, seen = args(9), []

    def interrupted(texts, first):
        for row in numbered(texts, first):
            seen.append(row["number"])
            if row["number"] == 7 and not first:
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        answer_records(found, ["text"], interrupted, {}, window=3)
    answer_records(found, ["text"], interrupted, {}, window=3)
    assert seen == [0, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8]


def test_another_job_is_refused(args):
    found = args(2)
    with pytest.raises(RecordError):
        answer_records(found, ["text"], lambda *_: iter([{"number": 0}, ItemError(1, "it is wrong")]), {"seed": 1})
    with pytest.raises(OutputError, match="seed was 1 and is 2"):
        answer_records(found, ["text"], numbered, {"seed": 2})
