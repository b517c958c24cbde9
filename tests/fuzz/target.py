"""`Target`: a reader of bytes that strangers control, and sound inputs for it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fuzz.mutations import Mutation, of_bytes

Read = Callable[[bytes], object]
"""Reads an input as a load does; it may raise errors of Vertebra and no others."""


@dataclass(frozen=True)
class Target:
    """A reader to be fuzzed."""

    name: str
    open: Callable[[Path], AbstractContextManager[Read]]
    """Returns a context in which the reader can be called; it may write below the folder that it is given."""
    seeds: Callable[[], Sequence[bytes]]
    """Returns small sound inputs."""
    mutate: Mutation = of_bytes
    """How an input becomes another one of a similar structure."""
    words: Sequence[str] = ()
    """Words that mean something to the reader."""
    needs: Sequence[str] = ()
    """Packages that it needs and that may not be installed."""
    asks: bool = False
    """Whether it asks a server on the loopback interface."""
    forks: bool = False
    """Whether child processes read the inputs, and are killed at their limits."""


@contextlib.contextmanager
def changed_settings(**variables: str) -> Iterator[pytest.MonkeyPatch]:
    """Sets environment variables, and has Vertebra read its settings again, until the context ends."""
    from vertebra._configuration.settings import settings

    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield patch
    settings.cache_clear()
