"""How long is waited between attempts at a transfer."""

import itertools
import threading

import pytest

from vertebra import PresetHandle
from vertebra._cache import transfer
from vertebra.errors import SourceUnavailableError

HANDLE = PresetHandle("team", "bert", "1")


class Clock(threading.Event):
    """Is told of waits, and waits for nothing."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return False


def waits(*asked):
    """Returns the waits between attempts that all fail, the service asking for breaks; the last one is the end."""
    clock, breaks = Clock(), iter(asked)

    def attempt():
        raise SourceUnavailableError(HANDLE, "HTTP 503", next(breaks))

    failures = itertools.count(1)
    with pytest.raises(SourceUnavailableError):
        transfer.retrying(attempt, lambda: next(failures), clock, len(asked))
    return clock.waits


def test_waits_double_up_to_a_limit():
    found = waits(*[None] * 12)
    usual = [min(transfer.FIRST_WAIT * 2**number, transfer.LONGEST_WAIT) for number in range(11)]
    assert all(low <= wait <= low + transfer.FIRST_WAIT for low, wait in zip(usual, found, strict=True))


def test_there_is_no_wait_where_none_is_wanted(monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.0)
    assert waits(None, None, None) == [0.0, 0.0]


def test_a_service_that_asks_for_a_break_gets_it():
    assert waits(7.0, 0.0, None) == [7.0, 0.0]


def test_a_service_that_asks_for_too_long_a_break_is_given_up():
    assert waits(7.0, transfer.LONGEST_WAIT + 1, None) == [7.0]
