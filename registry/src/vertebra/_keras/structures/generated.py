"""The names and random seeds that a build takes from the generators of Keras and Python, and those of a copy.

Keras numbers the names of layers without one, and draws a seed for each initialiser and each dropout layer. A copy has
the names and seeds that a build in its turn would have had.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from vertebra._keras.internals import name_counts

_MOST_SEEDS = 100_000


@dataclass(frozen=True, slots=True)
class Generators:
    """The state of the generators."""

    counts: dict[str, int]
    """For each kind of name, how many this thread has generated."""
    random: tuple[Any, ...]

    @classmethod
    def now(cls) -> Generators:
        return cls(dict(name_counts()), random.getstate())


class Generated:
    """What a build has generated.

    Args:
        before: The state of the generators before the build, in the same thread.
    """

    def __init__(self, before: Generators) -> None:
        after = Generators.now()
        self._states = before.random, after.random
        counts = {kind: (before.counts.get(kind, 0), end) for kind, end in after.counts.items()}
        self.counts = {kind: end - start for kind, (start, end) in counts.items() if end != start}
        """For each kind of name, how many were generated."""
        self.names = {
            numbered(kind, number): (kind, number - counts[kind][0])
            for kind in self.counts
            for number in range(*counts[kind])
        }
        """Each name, with its kind and its number within the build."""

    def seeds(self) -> list[int] | None:
        """Returns the seeds that Keras drew in the build, or None if the generator was used in another way, too."""
        replayed, (before, after) = random.Random(), self._states
        replayed.setstate(before)
        seeds: list[int] = []
        while replayed.getstate() != after:
            if len(seeds) == _MOST_SEEDS:
                return None
            seeds.append(_draw_seed(replayed))
        return seeds if len(set(seeds)) == len(seeds) else None


def numbered(kind: str, number: int) -> str:
    """Returns the name that Keras generates after it has generated a number of names of the same kind."""
    return f"{kind}_{number}" if number else kind


def _draw_seed(generator: Any) -> int:
    """Draws a seed as Keras does for objects without one: from the module `random`, or a generator like its own."""
    return int(generator.randint(1, 10**9))


class Fresh:
    """The names and seeds of a copy.

    Args:
        counts: For each kind of name, how many are needed.
        seeds: The seeds of the model that is copied.
    """

    def __init__(self, counts: dict[str, int], seeds: list[int]) -> None:
        known = name_counts()
        self._first = {kind: known.get(kind, 0) for kind in counts}
        self._counts = counts
        self._seeds = {seed: _draw_seed(random) for seed in seeds}

    def name(self, kind: str, number: int) -> str:
        """Returns the name in the copy for a generated name."""
        return numbered(kind, self._first[kind] + number)

    def seed(self, seed: int) -> int:
        """Returns the seed in the copy; it is the same if the seed was given and not drawn."""
        return self._seeds.get(seed, seed)

    def count_names(self) -> None:
        """Tells Keras that the names are used."""
        known = name_counts()
        for kind, count in self._counts.items():
            known[kind] = self._first[kind] + count
