"""`RayEngine`: the engine of `--ray`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from vertebra_text import BatchTask, EngineSession


class RayEngine:
    """Answers texts in actors of Ray.

    Args:
        address: `local`, `auto`, or the address of a Ray cluster: `HOST:PORT`.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @contextlib.contextmanager
    def session(self, task: BatchTask, args: argparse.Namespace) -> Iterator[EngineSession]:
        """Yields actors that have loaded the task; they end with the context.

        Args:
            task: The task.
            args: Arguments with `ray_actors`, `ray_cpus` and `ray_gpus`.

        Raises:
            RayError: there is no Ray at the address, or it has too few CPUs or GPUs, or no actor starts.
            VertebraError: an actor cannot load the task.
        """
        from vertebra_ray.cluster import connected
        from vertebra_ray.output import own_stdout
        from vertebra_ray.pool import Pool, Resources

        with own_stdout(), connected(self.address):
            pool = Pool(task, Resources.of(args.ray_actors, args.ray_cpus, args.ray_gpus))
            try:
                pool.start()
                yield pool
            finally:
                pool.end()
