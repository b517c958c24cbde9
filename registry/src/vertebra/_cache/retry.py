"""Attempts, with longer and longer breaks between them, or those that a service asks for."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from vertebra.errors import SourceUnavailableError

MOST_FAILURES = 6
"""Attempts without progress, after which it is given up."""
LONGEST_WAIT, FIRST_WAIT = 60.0, 0.5
"""Seconds between attempts; a service that asks for a longer break than the first is not waited for."""
_POLL = 0.1
T = TypeVar("T")


class CancelledError(Exception):
    """The user has interrupted the whole, or it is of no more use."""


def retry(
    attempt: Callable[[], T],
    failures: Callable[[], int],
    is_stopped: Callable[[], bool] = lambda: False,
    most: int = MOST_FAILURES,
) -> T:
    """Makes attempts until one succeeds, with longer and longer breaks, or those that the service asks for.

    Args:
        attempt: What may raise SourceUnavailableError.
        failures: Returns how many attempts have failed since there was progress.
        is_stopped: Ends the breaks.
        most: How many may fail.
    """
    from tenacity import RetryCallState, Retrying, before_sleep_log, retry_if_exception_type

    failed = 0

    def wait(state: RetryCallState) -> float:  # is asked before `is_enough`
        nonlocal failed
        failed = failures()
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        usual = min(FIRST_WAIT * 2.0 ** max(failed - 1, 0), LONGEST_WAIT) + random.uniform(0, FIRST_WAIT)
        return usual if asked is None else asked

    def is_enough(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return failed >= most or (getattr(error, "retry_after", None) or 0) > LONGEST_WAIT

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not is_stopped():
            time.sleep(min(left, _POLL))
        if is_stopped():
            raise CancelledError

    log = logging.getLogger("vertebra")
    return Retrying(
        wait=wait,
        stop=is_enough,
        retry=retry_if_exception_type(SourceUnavailableError),
        sleep=sleep,
        before_sleep=before_sleep_log(log, logging.DEBUG),
        reraise=True,
    )(attempt)
