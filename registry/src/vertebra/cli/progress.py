"""Progress of long operations: a bar or a spinner on a terminal, and no output otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vertebra._cache.transfer.progress import Advance, add_bar, is_watched, new_bars
from vertebra.errors import printable


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Advance | None]:
    """Yields a function to call with the bytes done and the total bytes, or None if there are no bars."""
    if not is_watched():
        yield None
        return
    with new_bars() as progress:
        task = add_bar(progress, title)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def busy(title: str) -> Iterator[None]:
    """Shows a spinner on a terminal during an operation of unknown length."""
    if not is_watched():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(title))):  # a str would be markup
        yield
