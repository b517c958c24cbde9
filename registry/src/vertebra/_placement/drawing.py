"""Random numbers that are the same in all processes of a mesh: seeds, and weights that no checkpoint has."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from vertebra._placement.division import MeshChoice

_SECONDS = 300.0
"""For which a process waits for the others: they read the preset before."""


@contextlib.contextmanager
def equal_draws(mesh: MeshChoice | None) -> Iterator[None]:
    """Draws the same numbers in all processes of a mesh within the block: those of its first process.

    Keras draws the seeds of initialisers and of dropout from the module `random`.

    Raises:
        TimeoutError: another process did not come here.
    """
    if mesh is None or not mesh.has_others:
        yield
        return
    own = random.getrandbits(64).to_bytes(8, "little")
    first = mesh.runtime.exchange(mesh.mesh, own, _SECONDS)[0]
    state = random.getstate()
    random.seed(first)
    try:
        yield
    finally:
        random.setstate(state)
