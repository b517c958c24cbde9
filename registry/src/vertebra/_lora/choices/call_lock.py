"""Call locks: calls of a model run concurrently; a change of its adapters runs alone."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from vertebra.errors import LoraStateError

_locks: weakref.WeakKeyDictionary[Any, CallLock] = weakref.WeakKeyDictionary()
_creating = threading.Lock()


def call_lock(model: Any) -> CallLock:
    """Returns the lock of a model; it is not an attribute, so copies and files of the model do not contain it."""
    lock = _locks.get(model)
    if lock is None:
        with _creating:
            lock = _locks.setdefault(model, CallLock())
    return lock


class CallLock:
    """A readers-writer lock for calls and changes, which prefers a waiting change so that calls cannot starve it.

    A thread that changes the model may also call it and nest changes. A call that changes its own model would deadlock,
    and is an error. Long reads, such as saves, delay changes but never calls.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls: dict[int, int] = {}
        """The number of nested calls of the model, by thread."""
        self._changing: int | None = None
        """The thread that is changing the model."""
        self._waiting = 0
        self._reading = 0
        """The number of open `reading` blocks."""

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Waits until no other thread changes the model, and prevents changes within the block."""
        with self._entered(0):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """As `calling`, for long blocks: new calls may start meanwhile, even if a change waits for the block."""
        with self._entered(1):
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Waits until no other thread calls or changes the model, and blocks both within the block.

        Raises:
            LoraStateError: this thread is in a call of the model.
        """
        thread = threading.get_ident()
        if self._changing == thread:
            yield
            return
        with self._condition:
            if thread in self._calls:
                problem = "The adapters of a model cannot change within a call of it"
                raise LoraStateError(problem, "Change them before or after the call")
            self._waiting += 1
            try:
                while self._changing is not None or self._calls:
                    self._condition.wait()
            finally:
                self._waiting -= 1
                self._condition.notify_all()  # after an interrupt, waiting calls may go ahead
            self._changing = thread
        try:
            yield
        finally:
            with self._condition:
                self._changing = None
                self._condition.notify_all()

    @contextlib.contextmanager
    def _entered(self, reading: int) -> Iterator[None]:
        thread = threading.get_ident()
        with self._condition:
            while not self._may_enter(thread, reading):
                self._condition.wait()
            self._calls[thread] = self._calls.get(thread, 0) + 1
            self._reading += reading
        try:
            yield
        finally:
            with self._condition:
                self._reading -= reading
                self._calls[thread] -= 1
                if not self._calls[thread]:
                    del self._calls[thread]
                    self._condition.notify_all()

    def _may_enter(self, thread: int, reading: int) -> bool:
        if self._changing is not None:
            return self._changing == thread
        # Successive readers would starve a waiting change, so only calls may enter before it.
        return not self._waiting or thread in self._calls or (self._reading > 0 and not reading)
