"""Call locks: calls of a model run side by side, and a change of its adapters runs alone."""

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
    """Returns the lock of a model, which is no attribute of it, so that copies and files of the model have none."""
    found = _locks.get(model)
    if found is None:
        with _creating:
            found = _locks.setdefault(model, CallLock())
    return found


class CallLock:
    """Many calls, or one change; a change that waits is next, so that a busy server cannot put it off forever.

    A thread that changes the model may call it and change it further. A call that changes its own model would wait for
    itself, and is an error. What reads the model for long, as a save does, holds up changes, and calls never.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls: dict[int, int] = {}
        """How many calls of the model each thread is in."""
        self._changing: int | None = None
        """The thread that changes the model."""
        self._waiting = 0
        self._reading = 0
        """How many blocks of `reading` threads are in."""

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Waits until no other thread changes the model, and keeps it unchanged within the block."""
        with self._entered(0):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Does the same for a block that takes long: calls come in meanwhile, although a change waits for the block."""
        with self._entered(1):
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Waits until no other thread calls or changes the model, and keeps them out within the block.

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
                self._condition.notify_all()  # after an interrupt, calls wait for nothing any more
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
        # One reader after the other would keep a change waiting forever, so only calls come in before it.
        return not self._waiting or thread in self._calls or (self._reading > 0 and not reading)
