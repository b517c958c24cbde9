"""The processes of a mesh: steps that they take together, while each one tells the others that it is alive."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from vertebra._configuration.settings import settings, variable_of
from vertebra.errors import MeshError, exception_text
from vertebra.interfaces import Runtime

TIMEOUT = "mesh_timeout"
"""The setting: seconds for which a process of a mesh may be silent."""
_SHARE = 0.9
"""The share of that time that one exchange may take: the error comes within the time."""
_FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_OF_ONE = 0.01, 1.0, 0.02
"""Seconds between exchanges: the first pause, the longest of a few processes, and more for each of many."""
_MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a mesh, of which there are several."""

    runtime: Runtime
    mesh: Any
    number: int
    """The number of this process, from 0."""
    count: int

    @classmethod
    def of(cls, runtime: Runtime, mesh: Any) -> Group | None:
        """Returns the processes of a mesh, or None if there is no mesh, or it is of this process alone."""
        if mesh is None:
            return None
        number, count = runtime.process_of(mesh)
        return cls(runtime, mesh, number, count) if count > 1 else None


def group_of(runtime: Runtime, model: Any) -> Group | None:
    """Returns the processes among which the weights of a model are divided, or None."""
    return Group.of(runtime, getattr(model, "_mesh", None))


class Steps:
    """Steps that all processes of a group take together; without a group, those of this process alone.

    Within the block, a thread exchanges messages all the time, so that a process may take any time for a step, as for a
    download, and one that is gone is missed. If a process leaves the block with an error, so do all others.

    Args:
        group: The processes, or None.
        action: The work of the block, such as `load the preset`, for messages.
    """

    def __init__(self, group: Group | None, action: str) -> None:
        self.group = group
        self._action, self._seconds = action, settings().mesh_timeout
        self._changed = threading.Condition()
        self._state: tuple[int, str, str | None, bool] = (0, "", None, False)
        """The number of the last step, its note, an error of this process, and whether it has left the block."""
        self._notes: dict[int, dict[int, str]] = {}
        """The notes of each process, by step, of the steps that this process has not passed."""
        self._passed = 0
        self._error: MeshError | None = None
        """The error of another process, which this one raises at its next step."""
        self._cause: BaseException | None = None
        self._thread = threading.Thread(target=self._exchange, daemon=True, name="vertebra-mesh")

    @property
    def count(self) -> int:
        """The number of the processes."""
        return 1 if self.group is None else self.group.count

    @property
    def is_first(self) -> bool:
        """Whether this process has number 0, which writes what only one may write."""
        return self.group is None or self.group.number == 0

    def reach(self, name: str, note: str = "") -> list[str]:
        """Waits until all processes have reached a step of this name; returns the note of each, by its number.

        Raises:
            MeshError: a process has failed, is gone, or has reached another step, as it runs another program.
        """
        return [note] if self.group is None else self._reach(name, note, False)

    def __enter__(self) -> Self:
        if self.group is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.group is None:
            return
        try:
            if error is None:
                self._reach("end", "", True)
            elif self._error is None:
                self._set(self._state[0], "", _told(error), True)
        finally:
            self._thread.join()

    def _set(self, *state: Any) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def _reach(self, name: str, note: str, ended: bool) -> list[str]:
        step = self._state[0] + 1
        self._set(step, f"{name}\n{note}", None, ended)
        with self._changed:
            self._changed.wait_for(lambda: self._error or len(self._notes.get(step, ())) == self.count)
            if len(self._notes.get(step, ())) < self.count:
                assert self._error is not None
                raise self._error from self._cause
            notes, self._passed = self._notes.pop(step), step
        names, texts = zip(*(notes[number].split("\n", 1) for number in range(self.count)), strict=True)
        if len(set(names)) > 1:
            problem = f"its processes are at different steps, {', '.join(sorted(set(names)))}, to {self._action}"
            raise MeshError(problem, "Let all processes make the same calls in the same order")
        return list(texts)

    # === In the thread ===

    def _exchange(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            state = self._state
            try:
                answers = self._answers(state)
            except BaseException as error:  # the waiting thread must not wait for ever
                self._fail(error)
                return
            with self._changed:
                is_new = self._take(answers)
                self._changed.notify_all()
                if self._error is not None or all(ended for *_, ended in answers):
                    return
                pause = _FIRST_PAUSE if is_new else min(1.5 * pause, _LONGEST_PAUSE + self.count * _PAUSE_OF_ONE)
                self._changed.wait_for(lambda before=state: self._state != before, pause)  # type: ignore[misc]

    def _answers(self, state: tuple[int, str, str | None, bool]) -> list[Any]:
        assert self.group is not None
        message = json.dumps(state).encode()
        answers = self.group.runtime.exchange(self.group.mesh, message, _SHARE * self._seconds)
        return [json.loads(answer) for answer in answers]

    def _take(self, answers: Sequence[Any]) -> bool:
        """Keeps the answers of all processes, and returns whether there is anything new."""
        is_new = False
        for number, (step, note, error, _) in enumerate(answers):
            if step > self._passed and number not in self._notes.setdefault(step, {}):
                self._notes[step][number], is_new = note, True
            if error is not None and self._error is None:
                problem = f"process {number} of {self.count} could not {self._action}: {error}"
                self._error = MeshError(problem, "All processes have stopped there; correct the error, and try again")
        return is_new

    def _fail(self, error: BaseException) -> None:
        reason = str(error) if isinstance(error, TimeoutError) else "the connection between them failed"
        problem = f"a process is gone, or was silent for too long, when all were to {self._action}: {reason}"
        remedy = f"Start all processes again; {variable_of(TIMEOUT)} sets how many seconds they wait"
        with self._changed:
            self._error, self._cause = MeshError(problem, remedy), error
            self._changed.notify_all()


def _told(error: BaseException) -> str:
    return exception_text(error)[:_MOST_CHARACTERS]
