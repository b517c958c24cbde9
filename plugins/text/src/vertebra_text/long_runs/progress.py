"""Progress of a run: a bar on a terminal, otherwise a line now and then; both with rate and time left."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

_QUIET, _PAUSE = 1.0, 10.0
"""Seconds before the first line, and between lines, as for downloads."""


class Progress:
    """Counts records, and writes lines to stderr.

    Args:
        total: The number of all records, or None if it is not known.
    """

    def __init__(self, total: int | None) -> None:
        self._total, self._earlier, self._done = total, 0, 0
        self._began = time.monotonic()
        self._next = self._began + _QUIET
        self._has_written = False

    def begin(self, earlier: int) -> None:
        """Begins to count, after the records of an earlier run, which do not count for the rate."""
        self._earlier, self._began = earlier, time.monotonic()
        self._next = self._began + _QUIET

    def advance(self, count: int) -> None:
        """Adds records that are done."""
        self._done += count
        now = time.monotonic()
        if now >= self._next:
            self._next, self._has_written = now + _PAUSE, True
            self._write(now)

    def finish(self) -> None:
        """Writes the last line, if there was one before."""
        if self._has_written:
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        done, rate = self._earlier + self._done, self._done / max(now - self._began, 1e-9)
        of_total = f" of {self._total:,}" if self._total is not None else ""
        left = "" if self._total is None else f", {_clock((self._total - done) / rate)} left" if rate else ""
        print(f"{done:,}{of_total} records, {_rate(rate)}{left}", file=sys.stderr, flush=True)


class _Bar(Progress):
    """Shows a bar, if the total is known, or else the count alone."""

    def __init__(self, total: int | None, bars: rich.progress.Progress) -> None:
        super().__init__(total)
        self._bars, self._task = bars, bars.add_task("", total=total, rate="")

    def begin(self, earlier: int) -> None:
        super().begin(earlier)
        self._bars.reset(self._task, completed=earlier, rate="")

    def advance(self, count: int) -> None:
        self._done += count
        rate = _rate(self._done / max(time.monotonic() - self._began, 1e-9))
        self._bars.update(self._task, advance=count, rate=rate)

    def finish(self) -> None:
        """Does nothing: the bar disappears by itself."""


@contextlib.contextmanager
def shown(total: int | None) -> Iterator[Progress]:
    """Yields the progress of a run over `total` records, or over an unknown number."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        progress = Progress(total)
        yield progress
        progress.finish()
        return
    with _bars(total) as bars:
        yield _Bar(total, bars)


def _bars(total: int | None) -> rich.progress.Progress:
    """Returns a line that fits the width of the terminal."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    count = "{task.completed:,} of {task.total:,} records" if total is not None else "{task.completed:,} records"
    columns: list[progress.ProgressColumn] = [progress.TextColumn(count), progress.TextColumn("{task.fields[rate]}")]
    if total is None:
        columns = [progress.SpinnerColumn(), *columns, progress.TimeElapsedColumn()]
    else:
        columns.append(progress.TimeRemainingColumn())
        if console.width >= 80:
            columns.insert(0, progress.BarColumn(min(40, console.width // 4)))
    return progress.Progress(*columns, console=console, transient=True)


def _rate(rate: float) -> str:
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"


def _clock(seconds: float) -> str:
    """Returns a duration as `M:SS` or `H:MM:SS`."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
