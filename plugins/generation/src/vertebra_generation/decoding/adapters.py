"""`AdapterChoice`: the LoRA adapters of a session, chosen once for many steps."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


class AdapterChoice:
    """Runs steps with chosen adapters.

    The choice is made in a context of its own, so that it does not reach the program that reads a stream between steps.

    Args:
        task: The task.
        names: The name of an adapter, a list with one for each row, or None for the active ones.
    """

    def __init__(self, task: Any, names: Any) -> None:
        self._task = task
        self.names = list(names) if isinstance(names, list | tuple) else names
        self._context: contextvars.Context | None = None
        self._block: AbstractContextManager[None] | None = None

    def run(self, function: Callable[[], Any]) -> Any:
        """Returns what a function returns that computes with the adapters."""
        if self.names is None:
            return function()
        if self._context is None:
            self._context, self._block = contextvars.copy_context(), self._task.lora_rows(self.names)
            self._context.run(self._block.__enter__)
        return self._context.run(function)

    def of_rows(self, numbers: list[int]) -> AdapterChoice:
        """Returns the choice for some of the rows, in place of this one."""
        if not isinstance(self.names, list):
            return self
        self.close()
        return AdapterChoice(self._task, [self.names[number] for number in numbers])

    def close(self) -> None:
        """Ends the choice."""
        context, block, self._context, self._block = self._context, self._block, None, None
        if context is not None and block is not None:
            context.run(block.__exit__, None, None, None)
