"""How long is waited between attempts at a transfer."""

import itertools
from types import SimpleNamespace

import pytest

from vertebra import PresetHandle
from vertebra._cache.transfer import retry
from vertebra.errors import SourceUnavailableError

HANDLE = PresetHandle("team", "bert", "1")


@pytest.fixture
def waits(monkeypatch):
    """Returns a function that returns the waits between attempts that all fail; the last failure is the end."""
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(retry, "_POLL", 10_000.0)

    def of_attempts(*asked):
        breaks, failures = iter(asked), itertools.count(1)

        def attempt():
            raise SourceUnavailableError(HANDLE, "HTTP 503", next(breaks))

        with pytest.raises(SourceUnavailableError):
            retry.retry(attempt, lambda: next(failures), most=len(asked))
        return slept

    return of_attempts


def test_waits_double_up_to_a_limit(waits):
    found = waits(*[None] * 12)
    usual = [min(retry.FIRST_WAIT * 2**number, retry.LONGEST_WAIT) for number in range(11)]
    assert all(low <= wait <= low + retry.FIRST_WAIT for low, wait in zip(usual, found, strict=True))


def test_there_is_no_wait_where_none_is_wanted(waits, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    assert waits(None, None, None) == []


def test_a_service_that_asks_for_a_break_gets_it(waits):
    assert waits(7.0, 0.0, None) == [7.0]


def test_a_service_that_asks_for_too_long_a_break_is_given_up(waits):
    assert waits(7.0, retry.LONGEST_WAIT + 1, None) == [7.0]


def test_a_wait_ends_when_it_is_of_no_more_use(monkeypatch):
    asked = itertools.count()
    with pytest.raises(retry.CancelledError):
        retry.retry(fail_with_a_long_break, lambda: 1, lambda: next(asked) > 1)


def fail_with_a_long_break():
    raise SourceUnavailableError(HANDLE, "HTTP 503", 50.0)
