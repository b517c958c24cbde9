"""Progress of downloads: bars on a terminal, otherwise a line now and then, and nothing for short downloads."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vertebra.errors import printable
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    import rich.progress

_QUIET, _PAUSE = 1.0, 10.0
"""Seconds before the first line, and between lines."""

Advance = Callable[[int, int], None]
"""Is called with the number of bytes that are done, and with the total."""
AdvanceBy = Callable[[int], None]
"""Is called with the number of bytes since the last call."""


class Progress:
    """Counts downloaded bytes, and writes lines to stderr."""

    def __init__(self, files: Sequence[PresetFile]) -> None:
        self._files, self._total = len(files), sum(file.size for file in files)
        self._done, self._lock = 0, threading.Lock()
        self._began = self._next = time.monotonic()
        self._next += _QUIET
        self._has_written = False

    def advance(self, name: str, count: int) -> None:
        """Adds bytes of a file that arrived; a negative count is of discarded bytes."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now >= self._next:
                self._next, self._has_written = now + _PAUSE, True
                self._write_line(f"fetching {_files(self._files)}: {_size(self._done)} of {_size(self._total)}")

    def finish(self) -> None:
        """Writes the last line, if there was one before."""
        if self._has_written:
            seconds = time.monotonic() - self._began
            self._write_line(f"fetched {_files(self._files)}: {_size(self._done)} in {seconds:.1f} s")

    def _write_line(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (stderr is where users watch a download)


class _Bars(Progress):
    """Shows a bar for all files, if there are several, and one for each file that is being downloaded."""

    def __init__(self, files: Sequence[PresetFile], bars: rich.progress.Progress) -> None:
        super().__init__(files)
        self._bars = bars
        self._sizes = {file.name: file.size for file in files}
        self._arrived = dict.fromkeys(self._sizes, 0)
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._all = bars.add_task(_files(len(files)), total=self._total) if len(files) > 1 else None

    def advance(self, name: str, count: int) -> None:
        with self._lock:
            self._arrived[name] += count
            if self._all is not None:
                self._bars.advance(self._all, count)
            if name not in self._tasks:
                begun = self._arrived[name] - count
                self._tasks[name] = add_bar(self._bars, name, self._sizes[name], begun)
            self._bars.advance(self._tasks[name], count)
            if self._all is not None and self._arrived[name] >= self._sizes[name]:
                self._bars.remove_task(self._tasks.pop(name))

    def finish(self) -> None:
        """Does nothing: the bars disappear by themselves."""


def is_watched() -> bool:
    """Returns whether stderr is a terminal on which lines can be replaced, so that bars can be shown."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def new_bars() -> rich.progress.Progress:
    """Returns bars on stderr that fit the width of the terminal: a narrow one gets fewer columns."""
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    console = Console(stderr=True)
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(console.width // 3, 8))
    columns: list[progress.ProgressColumn] = [
        progress.TextColumn("{task.description}", markup=False, table_column=name)
    ]
    if console.width >= 60:
        columns.append(progress.BarColumn(min(40, console.width // 4)))
    columns.append(progress.DownloadColumn(table_column=Column(no_wrap=True)))
    if console.width >= 80:
        columns.append(progress.TransferSpeedColumn(table_column=Column(no_wrap=True)))
    columns.append(progress.TimeRemainingColumn(table_column=Column(no_wrap=True)))
    return progress.Progress(*columns, console=console, transient=True)


def add_bar(bars: rich.progress.Progress, title: str, total: int | None = None, done: int = 0) -> rich.progress.TaskID:
    """Adds a bar with a title, which may be the name of a file; the total is None if it is not known yet."""
    return bars.add_task(printable(title), total=total, completed=done)


@contextlib.contextmanager
def show_progress(files: Sequence[PresetFile]) -> Iterator[Progress]:
    """Yields the progress of the downloads of some files."""
    if not is_watched():
        progress = Progress(files)
        yield progress
        progress.finish()
        return
    with new_bars() as bars:
        yield _Bars(files, bars)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
