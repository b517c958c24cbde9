"""Retries, with exponential backoff or the delay that the service asks for."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from vertebra._system.log import log
from vertebra.errors import SourceUnavailableError

MOST_FAILURES = 6
"""Attempts without progress after which the last error is raised."""
LONGEST_WAIT, FIRST_WAIT = 60.0, 0.5
"""Seconds between attempts; if a service asks for a longer delay than the first, the error is raised at once."""
_POLL = 0.1
T = TypeVar("T")


class CancelledError(Exception):
    """The user cancelled the fetch, or another file's failure ended it."""


def retry(
    attempt: Callable[[], T],
    failures: Callable[[], int],
    is_stopped: Callable[[], bool] = lambda: False,
    most: int = MOST_FAILURES,
) -> T:
    """Calls a function until it succeeds, with exponential backoff or the delay that the service asks for.

    Args:
        attempt: The function; a SourceUnavailableError of it is retried.
        failures: Returns the number of failed attempts since the last progress.
        is_stopped: Returns whether to stop waiting and raise CancelledError.
        most: The largest number of failed attempts.
    """
    from tenacity import RetryCallState, Retrying, before_sleep_log, retry_if_exception_type

    failed = 0

    def wait(state: RetryCallState) -> float:  # called before `is_enough`
        nonlocal failed
        failed = failures()
        error = state.outcome.exception() if state.outcome else None
        requested = getattr(error, "retry_after", None)
        backoff = min(FIRST_WAIT * 2.0 ** max(failed - 1, 0), LONGEST_WAIT) + random.uniform(0, FIRST_WAIT)
        return backoff if requested is None else requested

    def is_enough(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return failed >= most or (getattr(error, "retry_after", None) or 0) > LONGEST_WAIT

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not is_stopped():
            time.sleep(min(left, _POLL))
        if is_stopped():
            raise CancelledError

    return Retrying(
        wait=wait,
        stop=is_enough,
        retry=retry_if_exception_type(SourceUnavailableError),
        sleep=sleep,
        before_sleep=before_sleep_log(log, logging.DEBUG),
        reraise=True,
    )(attempt)
