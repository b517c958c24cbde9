"""Progress of downloads: bars that fit the terminal, or lines."""

import io
import re
import sys

import pytest

from vertebra import PresetFile
from vertebra._cache.transfer.progress import Progress, show_progress

FILES = [PresetFile("config.json", 10), PresetFile(f"{'long/' * 20}model.safetensors", 10**9)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Returns a function that makes stderr a terminal of some columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")

    def make(columns=80, term="xterm"):
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return make


def described(bars):
    return [(task.description, task.completed) for task in bars._bars.tasks]


def test_all_comes_first_and_finished_files_leave(terminal):
    terminal()
    with show_progress(FILES) as bars:
        assert described(bars) == [("2 files", 0)]
        bars.advance("config.json", 4)
        bars.advance(FILES[1].name, 100)
        assert described(bars) == [("2 files", 104), ("config.json", 4), (FILES[1].name, 100)]
        bars.advance("config.json", 6)
        assert described(bars) == [("2 files", 110), (FILES[1].name, 100)]
        bars.advance("config.json", -10)  # it failed verification, and is downloaded again
        assert described(bars) == [("2 files", 100), (FILES[1].name, 100), ("config.json", 0)]


def test_a_single_file_stays(terminal):
    terminal()
    with show_progress(FILES[:1]) as bars:
        bars.advance("config.json", 10)
        assert described(bars) == [("config.json", 10)]


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80, 200])
def test_bars_fit_the_terminal(terminal, columns):
    shown = terminal(columns)
    with show_progress(FILES) as bars:
        bars.advance("config.json", 4)
        bars.advance(FILES[1].name, 10**8)
        bars._bars.refresh()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= columns
    assert any("0.1/1.0 GB" in line for line in lines) or columns < 40


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_terminals_that_cannot_replace_lines_get_new_ones(terminal, term, monkeypatch):
    shown = terminal(term=term)
    monkeypatch.setattr("vertebra._cache.transfer.progress._QUIET", 0.0)
    with show_progress(FILES) as progress:
        assert type(progress) is Progress
        progress.advance("config.json", 10)
    assert shown.getvalue().splitlines()[0] == "fetching 2 files: 0.0 MB of 1,000.0 MB"
    assert "\x1b" not in shown.getvalue()
