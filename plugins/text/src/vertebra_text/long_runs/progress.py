"""Progress of a run: a bar with rate and time on a terminal, otherwise a line now and then."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

_PAUSE = 10.0
"""Seconds between lines."""


@contextlib.contextmanager
def counted() -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of records that were done since the last call."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        with _bar() as advance:
            yield advance
        return
    began = last = time.monotonic()
    done = 0

    def advance_lines(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _PAUSE:
            last = now
            print(f"{done:,} records, {done / (now - began):,.0f} a second", file=sys.stderr, flush=True)

    yield advance_lines


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int], None]]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.completed:,} records, {task.speed:,.0f} a second", markup=False),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda count: bar.update(task, advance=count)
