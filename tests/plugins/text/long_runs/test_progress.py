"""Progress: lines with count, rate and time left, which go on after an interruption; a bar on a terminal."""

import io
import itertools
import os
import sys

import pytest

from vertebra_text.long_runs import counting
from vertebra_text.long_runs import progress as showing
from vertebra_text.long_runs.counting import count_records
from vertebra_text.long_runs.progress import shown


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(showing.time, "monotonic", lambda: now[0])
    return now


def test_lines_have_rate_and_time_left_and_come_now_and_then(clock, capsys):
    with shown(10_000) as progress:
        progress.begin(0)
        for _ in range(25):
            clock[0] += 0.5
            progress.advance(100)
    assert capsys.readouterr().err.splitlines() == [
        "200 of 10,000 records, 200 a second, 0:49 left",
        "2,200 of 10,000 records, 200 a second, 0:39 left",
        "2,500 of 10,000 records, 200 a second, 0:38 left",
    ]


def test_records_of_an_earlier_run_count_but_not_for_the_rate(clock, capsys):
    with shown(10_000) as progress:
        clock[0] += 60  # loading the model
        progress.begin(9000)
        clock[0] += 2
        progress.advance(8)
    assert capsys.readouterr().err.splitlines()[0] == "9,008 of 10,000 records, 4.0 a second, 4:08 left"


def test_without_a_total_there_is_no_time_left(clock, capsys):
    with shown(None) as progress:
        progress.begin(0)
        clock[0] += 4
        progress.advance(4000)
    assert capsys.readouterr().err.splitlines()[0] == "4,000 records, 1,000 a second"


def test_a_short_run_says_nothing(clock, capsys):
    with shown(10) as progress:
        progress.begin(0)
        progress.advance(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("total", "wanted"), [(5000, "3,000 of 5,000 records"), (None, "3,000 records")])
def test_a_terminal_shows_a_line_that_disappears(total, wanted, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setitem(os.environ, "TERM", "xterm")
    monkeypatch.setitem(os.environ, "COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with shown(total) as progress:
        progress.begin(2000)
        progress.advance(1000)
        progress._bars.refresh()
    written = sys.stderr.getvalue()
    assert wanted in written
    assert "a second" in written
    assert written.endswith("\x1b[2K")


FILES = {
    "in.txt": (b"a\n\nb", 3),
    "ended.txt": (b"a\nb\n", 2),
    "empty.txt": (b"", 0),
    "in.jsonl": (b'{"text": "a"}\n', 1),
    "in.csv": (b'text\n"a\nb"\n\nc\n', 2),
    "head.csv": (b"text\n", 0),
    "bad.csv": (b'text\n"a"b\n', None),
}


@pytest.mark.parametrize("name", FILES)
def test_records_are_counted(name, tmp_path):
    content, count = FILES[name]
    (tmp_path / name).write_bytes(content)
    assert count_records([str(tmp_path / name)]) == count


def test_the_records_of_several_files_are_summed_unless_one_cannot_be_counted(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb")
    paths = [str(tmp_path / "a.txt")] * 2
    assert count_records(paths) == 4
    assert count_records([*paths, "-"]) is None
    assert count_records([*paths, str(tmp_path / "missing.txt")]) is None


@pytest.mark.parametrize("name", ["in.txt", "in.csv"])
def test_the_total_is_not_known_if_counting_takes_too_long(name, tmp_path, monkeypatch):
    content, count = FILES[name]
    (tmp_path / name).write_bytes(content)
    now = itertools.count()
    monkeypatch.setattr(counting.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(counting, "_SECONDS", 10)
    assert count_records([str(tmp_path / name)]) == count
    monkeypatch.setattr(counting, "_SECONDS", 0.5)
    assert count_records([str(tmp_path / name)]) is None


def test_parquet_files_are_counted_by_their_metadata(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["a"] * 7}), tmp_path / "in.parquet")
    assert count_records([str(tmp_path / "in.parquet")]) == 7
    (tmp_path / "bad.parquet").write_bytes(b"no")
    assert count_records([str(tmp_path / "bad.parquet")]) is None
