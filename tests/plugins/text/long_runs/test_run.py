"""Long runs: every record has one answer, in order, also after the process was killed at any moment."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vertebra_text.errors import ItemError
from vertebra_text.long_runs import run as running
from vertebra_text.long_runs.errors import OutputError, RecordError
from vertebra_text.long_runs.reading import Record
from vertebra_text.long_runs.run import run

JOB = {"task": "lengths"}


def in_windows(answer):
    """Returns the stream of a function of texts; texts that are errors get errors."""

    def stream(texts):
        remaining = iter(texts)
        for window in iter(lambda: list(itertools.islice(remaining, running.WINDOW)), []):
            answers = iter(answer([text for text in window if isinstance(text, str)]))
            yield from (next(answers) if isinstance(text, str) else ItemError(0, str(text)) for text in window)

    return stream


@in_windows
def lengths(texts):
    return [{"length": len(text)} for text in texts]


def records(count, bad=()):
    return [
        Record("in", n, None if n in bad else "x" * n, "it is broken" if n in bad else "") for n in range(1, count + 1)
    ]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(running, "WINDOW", 7)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_have_the_order_of_the_records(tmp_path):
    summary = run(records(100), lengths, tmp_path / "out.jsonl", JOB)
    assert [row["length"] for row in read(tmp_path / "out.jsonl")] == list(range(1, 101))
    assert (summary.records, summary.continued, summary.bad_count) == (100, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_a_stream_ends_before_the_output_is_complete(count, tmp_path):
    ended = []

    def stream(texts):
        yield from lengths(texts)
        ended.append((tmp_path / "out.jsonl").exists())  # such as the count of texts that were cut

    run(records(count), stream, tmp_path / "out.jsonl", JOB)
    assert ended == [False]


@pytest.mark.parametrize(("fewer", "more"), [(1, 0), (0, 1)])
def test_a_stream_with_too_few_or_too_many_answers_completes_no_output(fewer, more, tmp_path):
    def stream(texts):
        answers = list(lengths(texts))
        yield from answers[: len(answers) - fewer] + answers[:more]

    with pytest.raises(ValueError, match="zip"):
        run(records(10), stream, tmp_path / "out.jsonl", JOB)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14])
def test_any_number_of_records(count, tmp_path):
    run(records(count), lengths, tmp_path / "out.jsonl", JOB)
    assert len(read(tmp_path / "out.jsonl")) == count


def test_a_run_goes_on_where_it_was_interrupted(tmp_path):
    seen = []

    @in_windows
    def answer(texts):
        seen.extend(map(len, texts))
        if 50 in seen and not hasattr(answer, "failed"):
            answer.failed = True
            raise KeyboardInterrupt
        return [{"length": len(text)} for text in texts]

    with pytest.raises(KeyboardInterrupt):
        run(records(100), answer, tmp_path / "out.jsonl", JOB)
    assert not (tmp_path / "out.jsonl").exists()
    summary = run(records(100), answer, tmp_path / "out.jsonl", JOB)
    assert [row["length"] for row in read(tmp_path / "out.jsonl")] == list(range(1, 101))
    assert summary.continued == 49
    assert seen.count(50) == 2
    assert seen.count(49) == 1


class Counts:
    """Keeps the calls of a progress."""

    def __init__(self):
        self.calls = []

    def begin(self, earlier):
        self.calls.append(("begin", earlier))

    def advance(self, count):
        self.calls.append(count)


def test_progress_goes_on_where_the_run_was_interrupted(tmp_path):
    interrupted(tmp_path)
    counts = Counts()
    run(records(40), lengths, tmp_path / "out.jsonl", JOB, progress=counts)
    assert counts.calls == [("begin", 21), 7, 7, 5]


def test_a_bad_record_ends_the_run_and_the_answers_before_it_are_kept(tmp_path):
    with pytest.raises(RecordError, match=r"in, record 40: it is broken.*--skip-bad"):
        run(records(100, bad=[40]), lengths, tmp_path / "out.jsonl", JOB)
    summary = run(records(100), lengths, tmp_path / "out.jsonl", JOB)
    assert summary.continued == 39
    assert len(read(tmp_path / "out.jsonl")) == 100


def test_record_40_000_ends_the_run_or_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "WINDOW", 1024)
    short = [
        Record("in.jsonl", n, "x" if n != 40_000 else None, "" if n != 40_000 else "cut") for n in range(1, 40_011)
    ]
    with pytest.raises(RecordError, match=r"in\.jsonl, record 40,000: cut\. Correct it, or pass --skip-bad"):
        run(short, lengths, tmp_path / "out.jsonl", JOB)
    summary = run(short, lengths, tmp_path / "out.jsonl", JOB, skip_bad=True)
    rows = read(tmp_path / "out.jsonl")
    assert (summary.continued, summary.records, summary.bad_count) == (39_999, 40_010, 1)
    assert (rows[39_999], rows[-1]) == ({"error": "record 40000: cut"}, {"length": 1})


def test_bad_records_can_be_passed_over(tmp_path):
    summary = run(records(100, bad=[40, 41]), lengths, tmp_path / "out.jsonl", JOB, skip_bad=True)
    rows = read(tmp_path / "out.jsonl")
    assert rows[39] == {"error": "record 40: it is broken"}
    assert rows[41] == {"length": 42}
    assert (summary.bad_count, summary.bad[0]) == (2, "in, record 40: it is broken")


def interrupted(tmp_path, name="out.jsonl", **options):
    @in_windows
    def answer(texts):
        if len(texts[0]) > 20:
            raise KeyboardInterrupt
        return [{"length": len(text)} for text in texts]

    with pytest.raises(KeyboardInterrupt):
        run(records(100), answer, tmp_path / name, JOB, **options)


def test_another_job_does_not_go_on(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(OutputError, match=r"task was 'lengths' and is 'other'.*--restart"):
        run(records(100), lengths, tmp_path / "out.jsonl", {"task": "other"})
    run(records(100), lengths, tmp_path / "out.jsonl", {"task": "other"}, restart=True)
    assert len(read(tmp_path / "out.jsonl")) == 100


def test_another_input_does_not_go_on(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(OutputError, match="the input has changed"):
        run(records(100)[1:], lengths, tmp_path / "out.jsonl", JOB)


def test_a_damaged_note_is_told(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "out.jsonl.state").write_text("{")
    with pytest.raises(OutputError, match="not the note of a run"):
        run(records(100), lengths, tmp_path / "out.jsonl", JOB)


def test_what_was_written_after_the_last_note_is_cut_off(tmp_path):
    interrupted(tmp_path)
    with (tmp_path / "out.jsonl.partial").open("ab") as file:
        file.write(b'{"length": 1')
    run(records(100), lengths, tmp_path / "out.jsonl", JOB)
    assert [row["length"] for row in read(tmp_path / "out.jsonl")] == list(range(1, 101))


def test_vectors_become_a_numpy_file(tmp_path):
    @in_windows
    def vectors(texts):
        return [{"embedding": [len(text), 0.5]} for text in texts]

    run(records(20, bad=[3]), vectors, tmp_path / "out.npy", JOB, width=2, skip_bad=True)
    found = np.load(tmp_path / "out.npy")
    assert (found.shape, found.dtype) == ((20, 2), np.float32)
    assert np.isnan(found[2]).all()
    assert found[19].tolist() == [20, 0.5]


def test_tables(tmp_path):
    run(records(3, bad=[2]), lengths, tmp_path / "out.csv", JOB, skip_bad=True)
    assert (tmp_path / "out.csv").read_text().splitlines() == ["length,error", "1,", ",record 2: it is broken", "3,"]
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet files need pyarrow")

    run(records(30), lengths, tmp_path / "out.parquet", JOB)
    assert parquet.read_table(tmp_path / "out.parquet")["length"].to_pylist() == list(range(1, 31))


@pytest.mark.parametrize(("name", "width"), [("out", 0), ("out.txt", 0), ("out.npy", 0), ("out.h5", 3)])
def test_other_outputs_are_refused(name, width, tmp_path):
    with pytest.raises(OutputError, match="its suffix is"):
        run(records(3), lengths, tmp_path / name, JOB, width=width)


PROGRAM = """
import sys, time
from pathlib import Path
from vertebra_text.errors import ItemError
from vertebra_text.long_runs import run as running
from vertebra_text.long_runs.reading import Record
running.WINDOW = 3
def stream(texts):
    for text in texts:
        time.sleep(0.0003)
        yield {"length": len(text)}
records = [Record("in", n, "x" * n) for n in range(1, 301)]
print("ready", flush=True)
running.run(records, stream, Path(sys.argv[1]), {})
"""


def test_a_process_killed_at_any_moment_loses_nothing(tmp_path):
    out, draws = tmp_path / "out.jsonl", random.Random(1)
    for _ in range(40):
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(out)], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(draws.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if out.exists():
            break
    subprocess.run([sys.executable, "-c", PROGRAM, str(out)], check=True, stdout=subprocess.DEVNULL)
    assert [row["length"] for row in read(out)] == list(range(1, 301))
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
