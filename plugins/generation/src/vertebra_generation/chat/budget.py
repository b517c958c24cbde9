"""`Budget`: how much a template may compute, as templates come from strangers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

MOST_STEPS = 50_000
"""Turns of loops, calls and filters, in addition to one for each character of the conversation."""
MOST_SECONDS = 10.0
MOST_CHARACTERS = 4_000_000
"""Characters of a text or list, in addition to four times those of the conversation."""
MOST_TOGETHER = 40_000_000
"""Characters of all texts and lists together, in addition to 256 times those of the conversation."""
_MOST_BITS = 4096
_ITEM = 16
"""As many characters an item of a list counts."""


_ITEMS_OF_A_STEP = 8


class LimitError(Exception):
    """A template computes more than a budget allows."""


class Budget:
    """The limits of one rendering.

    Args:
        inputs: The values that the template gets; nothing changes them.
        now: The time for `strftime_now`; None for the time of the call.
        marks: The texts around each generation block; None for no marks.
    """

    def __init__(self, inputs: Any, now: datetime | None = None, marks: tuple[str, str] | None = None) -> None:
        self.now, self.marks = now, marks
        self._deadline = time.monotonic() + MOST_SECONDS
        self._known: dict[int, int] = {}
        """The weights of the lists and dicts that the template gets, by identity."""
        self._inputs = inputs
        self._steps = self._remember(inputs)
        self._most = MOST_CHARACTERS + 4 * self._steps
        self._together = MOST_TOGETHER + 256 * self._steps
        self._steps += MOST_STEPS

    def tick(self) -> None:
        """Counts a step.

        Raises:
            LimitError: there were too many, or they took too long.
        """
        self._spend(1)
        if time.monotonic() > self._deadline:
            raise LimitError(f"it takes longer than {MOST_SECONDS:g} seconds")

    def measured(self, value: Any) -> Any:
        """Returns a value that is not too large."""
        if isinstance(value, str):
            self._make(len(value))
        elif isinstance(value, int):
            if value.bit_length() > _MOST_BITS:
                raise LimitError("it computes a number of too many digits")
        elif isinstance(value, list | tuple | dict):
            self._make(self.weight(value))
        return value

    def weight(self, value: Any) -> int:
        """Returns the number of characters of a value, of which an item of a list counts as several."""
        total, seen, rest = 0, 0, [value]
        while rest:
            item = rest.pop()
            seen += 1
            if isinstance(item, str):
                total += len(item)
            elif id(item) in self._known:
                total += self._known[id(item)]
            elif isinstance(item, dict):
                rest += item.keys()
                rest += item.values()
            elif isinstance(item, list | tuple):
                rest += item
            total += _ITEM
            self.allow(total + len(rest))
        self._spend(seen // _ITEMS_OF_A_STEP)
        return total

    def allow(self, size: int) -> None:
        """Raises LimitError if a text or list of a size would be too large."""
        if size > self._most:
            raise LimitError(f"it makes a text or list of more than {self._most:,} characters")

    def collected(self, items: Iterable[Any]) -> list[Any]:
        """Returns the items of an iterator, unless they are too many or too large together."""
        found, total = [], 0
        for item in items:
            self.tick()
            total += self.weight(item)
            self.allow(total)
            found.append(item)
        return found

    def joined(self, pieces: Iterable[str]) -> str:
        """Returns texts as one text."""
        found, total = [], 0
        for piece in pieces:
            total += len(piece)
            self.allow(total)
            found.append(piece)
        self._make(total)
        return "".join(found)

    def _make(self, size: int) -> None:
        self.allow(size)
        self._together -= size
        if self._together < 0:
            raise LimitError("its texts and lists are too long together")

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise LimitError("it takes too many steps")

    def _remember(self, value: Any) -> int:
        if isinstance(value, str):
            return _ITEM + len(value)
        if isinstance(value, dict):
            total = _ITEM + sum(self._remember(item) for pair in value.items() for item in pair)
        elif isinstance(value, list):
            total = _ITEM + sum(self._remember(item) for item in value)
        else:
            return _ITEM
        self._known[id(value)] = total
        return total


_CURRENT: ContextVar[Budget] = ContextVar("chat_template_budget")


def current() -> Budget:
    """Returns the budget of the rendering that runs in this thread."""
    return _CURRENT.get()


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Runs the body of a `with` statement with a budget."""
    token = _CURRENT.set(budget)
    try:
        yield
    finally:
        _CURRENT.reset(token)
