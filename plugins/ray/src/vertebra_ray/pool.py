"""A pool of actors that answer windows of texts, in order."""

from __future__ import annotations

import collections
import importlib.metadata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from vertebra.errors import VertebraError, exception_text
from vertebra_ray.errors import RayError
from vertebra_text import BatchTask

_AHEAD = 2
"""Windows at an actor: one that it answers, and the next one."""
_RESTARTS = 3
"""How often an actor that died is replaced, and a window is tried again; a text that kills actors must end the run."""
_START_SECONDS = 120
"""The most that the start of the first actor may take, until which the cluster may be busy."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The actors of a run, and what each reserves."""

    actors: int
    cpus: int
    gpus: float

    @classmethod
    def of(cls, actors: int | None, cpus: int, gpus: float) -> Resources:
        """Returns the resources of a run on the connected cluster.

        Args:
            actors: Number of actors, or None for as many as fit.
            cpus: CPUs for each.
            gpus: GPUs for each.

        Raises:
            RayError: the cluster has too few.
        """
        has = ray.cluster_resources()
        fit = int(has.get("CPU", 0)) // cpus
        if gpus:
            fit = min(fit, int(has.get("GPU", 0) / gpus))
        count = actors or max(fit, 1)
        if count > fit:
            wanted = f"{count} actors with {cpus} CPUs" + (f" and {gpus:g} GPUs each" if gpus else " each")
            problem = f"the Ray cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, not {wanted}"
            raise RayError(problem, "Pass less with --ray-actors, --ray-cpus or --ray-gpus, or add nodes")
        return cls(count, cpus, gpus)


class _Worker:
    """An actor: a process with the task."""

    def __init__(self, task: BatchTask) -> None:
        self._task = task

    def version(self) -> str:
        """Returns the version of Vertebra on the actor's machine."""
        return importlib.metadata.version("vertebra")

    def load(self) -> int:
        """Loads the task, and returns its width."""
        return self._task.width or (self._task.task and 0)

    def answers(self, texts: Sequence[Any]) -> list[Any]:
        """Returns the answers for a window."""
        return self._task.answers(texts)


class Pool:
    """Actors that have loaded a task; an `EngineSession`.

    Args:
        task: The task.
        resources: The actors.
    """

    def __init__(self, task: BatchTask, resources: Resources) -> None:
        options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
        options |= {"max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}
        kind = ray.remote(_Worker).options(**options)
        self._actors = [kind.remote(task) for _ in range(resources.actors)]
        self._width = 0

    @property
    def width(self) -> int:
        """The `width` of the task."""
        return self._width

    def start(self) -> None:
        """Waits until the first actor has started and loaded the task; the others load it while that one answers.

        Raises:
            RayError: no actor starts within two minutes, or it has another version of Vertebra.
            VertebraError: it cannot load the task.
        """
        asked = {actor.version.remote(): actor for actor in self._actors}
        ready, _ = ray.wait(list(asked), num_returns=1, timeout=_START_SECONDS)
        if not ready:
            problem = f"no actor started within {_START_SECONDS} seconds; the CPUs or GPUs of the Ray cluster are taken"
            raise RayError(problem, "Wait until they are free (ray status shows it), or pass less with --ray-cpus")
        version, own = _got(ready[0]), importlib.metadata.version("vertebra")
        if version != own:
            problem = f"the nodes of the Ray cluster have Vertebra {version}, and this machine has {own}"
            raise RayError(problem, "Install one version on all of them")
        loading = [actor.load.remote() for actor in self._actors]
        first, _ = ray.wait(loading, num_returns=1)
        self._width = _got(first[0])

    def answers(self, windows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
        """Yields the answers for each window, in order; see `EngineSession`.

        At most two windows are at each actor, and as many answered ones wait for an earlier one.
        """
        remaining, failure = iter(windows), None
        order: collections.deque[Any] = collections.deque()
        actor_of: dict[Any, int] = {}
        most = 2 * _AHEAD * len(self._actors)
        is_read = False
        while order or not is_read:
            while not is_read and len(order) < most and (number := self._free(actor_of)) is not None:
                try:
                    window = next(remaining)
                except Exception as error:  # raised after the answers for the windows before it
                    is_read, failure = True, None if isinstance(error, StopIteration) else error
                else:
                    order.append(self._actors[number].answers.remote(window))
                    actor_of[order[-1]] = number
            if actor_of:
                done, _ = ray.wait(list(actor_of), num_returns=1)
                del actor_of[done[0]]
            while order and order[0] not in actor_of:
                yield _got(order.popleft())
        if failure is not None:
            raise failure

    def _free(self, actor_of: dict[Any, int]) -> int | None:
        """Returns the number of the actor with the fewest windows, or None if each has enough."""
        loads = collections.Counter(actor_of.values())
        number = min(range(len(self._actors)), key=lambda number: loads[number])
        return number if loads[number] < _AHEAD else None

    def end(self) -> None:
        """Ends the actors."""
        for actor in self._actors:
            ray.kill(actor)


def _got(reference: Any) -> Any:
    """Returns what a call of an actor returned.

    Raises:
        VertebraError: the call raised it.
        RayError: the actor failed otherwise.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, VertebraError):
            raise cause from None
        problem = f"an actor failed ({exception_text(cause)})"
        raise RayError(
            problem, "The same command without --ray shows where, or goes on with the next window"
        ) from error
    except ray.exceptions.RayActorError as error:
        problem = f"an actor died {_RESTARTS + 1} times, or cannot be started ({_first_line(error)})"
        remedy = "If its memory was full, pass fewer actors or a smaller --batch-size; the same command goes on"
        raise RayError(problem, remedy) from error
    except ray.exceptions.RayError as error:
        problem = f"Ray failed ({_first_line(error)})"
        raise RayError(problem, "The same command goes on where this run ended") from error


def _first_line(error: BaseException) -> str:
    return " ".join(exception_text(error).split())[:300]
