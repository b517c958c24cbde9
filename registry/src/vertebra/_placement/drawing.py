"""Random numbers that are the same in all processes of a mesh: seeds, and weights that no checkpoint has."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from vertebra._placement.processes import Steps


@contextlib.contextmanager
def equal_draws(steps: Steps) -> Iterator[None]:
    """Draws the same numbers in all processes of a mesh within the block: those of its first process.

    Keras draws the seeds of initialisers and of dropout from the module `random`.

    Raises:
        MeshError: another process failed, or is gone.
    """
    if steps.group is None:
        yield
        return
    first = steps.reach("draw", str(random.getrandbits(64)))[0]
    state = random.getstate()
    random.seed(int(first))
    try:
        yield
    finally:
        random.setstate(state)
