"""Progress: a bar on a terminal, and no output otherwise."""

import io
import sys

from vertebra.cli.progress import progress_bar


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
