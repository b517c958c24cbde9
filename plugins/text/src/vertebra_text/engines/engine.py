"""What an engine does for the commands over files: it answers windows of texts in processes of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from vertebra_text.engines.batch_task import BatchTask


class EngineSession(Protocol):
    """Workers that are ready: each has loaded the task."""

    @property
    def width(self) -> int:
        """The `width` of the task, which a worker has loaded."""

    def answers(self, windows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
        """Yields what `BatchTask.answers` returns for each window, in the order of the windows.

        Reads windows ahead, as many as keep its workers busy. A window whose worker died is answered by another one.

        Raises:
            VertebraError: a worker failed, or too many died; the windows before that one have been yielded.
        """


class Engine(Protocol):
    """The attribute `engine` of the arguments of `vertebra embed`, `classify`, `tag` and `rerank`, or None.

    A plugin sets it with an option of a `CommandOptionSpec`.
    """

    def session(self, task: BatchTask, args: argparse.Namespace) -> AbstractContextManager[EngineSession]:
        """Returns a context manager that starts workers, and ends them.

        Args:
            task: The task; it can be pickled.
            args: The arguments of the command, with further options of the engine.

        Raises:
            VertebraError: no worker can be started, or the task cannot be loaded there; on entering the context.
        """
