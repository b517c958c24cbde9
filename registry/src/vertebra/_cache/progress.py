"""Showing what arrives: bars on a terminal, now and then a line elsewhere, and nothing of what takes a moment."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from vertebra.specs import PresetFile

_QUIET, _PAUSE = 1.0, 10.0
"""Seconds before the first line, and between lines."""


class Progress:
    """Counts bytes, and writes lines."""

    def __init__(self, files: Sequence[PresetFile]) -> None:
        self._files, self._total = len(files), sum(file.size for file in files)
        self._done, self._lock = 0, threading.Lock()
        self._began = self._next = time.monotonic()
        self._next += _QUIET
        self._spoke = False

    def advance(self, name: str, count: int) -> None:
        """Is told that bytes of a file arrived, or, below zero, that some were given up."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now >= self._next:
                self._next, self._spoke = now + _PAUSE, True
                self._say(f"fetching {_files(self._files)}: {_size(self._done)} of {_size(self._total)}")

    def finish(self) -> None:
        """Writes the last line, if there was one before."""
        if self._spoke:
            seconds = time.monotonic() - self._began
            self._say(f"fetched {_files(self._files)}: {_size(self._done)} in {seconds:.1f} s")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (whoever waits for a download looks there)


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
        """The bars go by themselves."""


@contextlib.contextmanager
def showing(files: Sequence[PresetFile]) -> Iterator[Progress]:
    """Yields what is told of each byte of some files."""
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
