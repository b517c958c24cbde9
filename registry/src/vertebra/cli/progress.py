"""Progress of long operations: a bar or a spinner on a terminal, and no output otherwise."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from vertebra._cache.progress import Advance


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Advance | None]:
    """Yields a function to call with the bytes done and the total bytes, or None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def busy(title: str) -> Iterator[None]:
    """Shows a spinner on a terminal during an operation of unknown length."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(title):
        yield
