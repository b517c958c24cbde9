"""Progress of downloads: bars on a terminal, otherwise a line now and then, and nothing for short downloads."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from vertebra.specs import PresetFile

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
    """Shows a bar for each file, and one for all if there are several."""

    def __init__(self, files: Sequence[PresetFile], bars: object) -> None:
        super().__init__(files)
        self._bars: object = bars
        self._tasks = {file.name: bars.add_task(file.name, total=file.size) for file in files}  # type: ignore[attr-defined]
        self._all = bars.add_task("all", total=self._total) if len(files) > 1 else None  # type: ignore[attr-defined]

    def advance(self, name: str, count: int) -> None:
        for task in (self._tasks[name], self._all):
            if task is not None:
                self._bars.advance(task, count)  # type: ignore[attr-defined]

    def finish(self) -> None:
        """Does nothing: the bars disappear by themselves."""


@contextlib.contextmanager
def show_progress(files: Sequence[PresetFile]) -> Iterator[Progress]:
    """Yields the progress of the downloads of some files."""
    if not sys.stderr.isatty():
        progress = Progress(files)
        yield progress
        progress.finish()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        yield _Bars(files, bars)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
