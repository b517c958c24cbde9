"""Work that one thread does beside another's, piece after piece, and never more than one piece behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Beside:
    """One thread, as a context manager that ends with its work."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, f"vertebra-{name}")
        self._last: Future[None] | None = None

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def do(self, work: Callable[[], None]) -> None:
        """Begins some work, once what was begun before is done.

        Raises:
            Exception: that has failed.
        """
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """Waits until all is done.

        Raises:
            Exception: it has failed.
        """
        if self._last is not None:
            self._last.result()
