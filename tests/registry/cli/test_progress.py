"""Progress: a bar on a terminal, and no output otherwise."""

import io
import sys

import pytest

from vertebra._cache.transfer.progress import show_progress
from vertebra.cli.progress import busy, progress_bar
from vertebra.specs import PresetFile


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_where_nobody_watches_there_is_none(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("converting") as advance:
        assert advance is None
    assert sys.stderr.getvalue() == ""


def test_on_a_terminal_it_goes_to_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("converting") as advance:
        for done in (0, 500, 1000):
            advance(done, 1000)
    assert "converting" in sys.stderr.getvalue()


HOSTILE = "converting ad[/x] [red]b[/] [link=https://evil.example]c[/link] :boom: \x1b]0;PWNED\x07\u202e"
SHOWN = r"converting ad[/x] [red]b[/] [link=https://evil.example]c[/link] :boom: \x1b]0;PWNED\x07\u202e"


def terminal(monkeypatch):
    """Makes stderr a wide terminal, and returns it."""
    for name, value in {"TERM": "xterm", "FORCE_COLOR": "1", "COLUMNS": "400"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


@pytest.mark.parametrize("show", [busy, progress_bar], ids=["spinner", "bar"])
def test_a_title_is_no_markup(monkeypatch, show):
    """V9d, V6: a path of the user's, or a name of a file."""
    stderr = terminal(monkeypatch)
    with show(HOSTILE) as advance:
        if advance is not None:
            advance(1, 2)
    assert SHOWN in stderr.getvalue()
    assert "]0;PWNED\x07" not in stderr.getvalue()


def test_the_names_of_downloaded_files_are_no_markup(monkeypatch):
    """V9d, V6."""
    stderr = terminal(monkeypatch)
    with show_progress([PresetFile(HOSTILE, 2), PresetFile("b", 2)]) as progress:
        progress.advance(HOSTILE, 1)
    assert r"converting ad[/x] [red]b[/]" in stderr.getvalue()
    assert "\u202e" not in stderr.getvalue()
