"""Failover: candidates for one preset, such as a mirror and its original, are tried in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from vertebra._system.log import log
from vertebra.errors import (
    ClientMissingError,
    HandleError,
    OfflineError,
    PresetAccessError,
    PresetNotFoundError,
    PresetRefusedError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra.handles import PresetHandle

T = TypeVar("T")
FAILOVER_ERRORS = (
    PresetNotFoundError,
    PresetAccessError,
    SourceUnavailableError,
    OfflineError,
    PresetRefusedError,
    ClientMissingError,
    HandleError,
)
"""Errors of one candidate after which the next candidate is tried."""


class Failover:
    """The remaining candidates for a preset, and the failures of the earlier ones.

    Args:
        candidates: Handles, in the order in which they are tried.
    """

    def __init__(self, candidates: Sequence[PresetHandle]) -> None:
        self._left = list(candidates)
        self.failures: list[VertebraError] = []

    def next(self, use: Callable[[PresetHandle], T], failure: VertebraError | None = None) -> T:
        """Returns the result of the first remaining candidate that works; failed candidates are dropped.

        Args:
            use: Function of a candidate.
            failure: The failure of the previous candidate, if there was one.

        Raises:
            VertebraError: the failure of the last candidate.
        """
        while self._left:
            if failure is not None:
                self._record(failure)
            try:
                return use(self._left.pop(0))
            except FAILOVER_ERRORS as error:
                failure = error
        assert failure is not None, "there is at least one candidate"
        self.failures.append(failure)
        raise failure

    def _record(self, failure: VertebraError) -> None:
        self.failures.append(failure)
        if not isinstance(failure, PresetNotFoundError | OfflineError):
            log.warning("%s Trying the next candidate.", failure)
