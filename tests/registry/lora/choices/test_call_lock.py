"""Call locks: calls run concurrently, a change runs alone, and neither deadlocks with itself."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vertebra._lora.choices.call_lock import CallLock, call_lock
from vertebra.errors import LoraStateError

WAIT = 30.0


@pytest.fixture
def lock():
    return CallLock()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_calls_run_side_by_side(lock, pool):
    together = threading.Barrier(4, timeout=WAIT)

    def call():
        with lock.calling():
            together.wait()

    for done in [pool.submit(call) for _ in range(4)]:
        done.result(WAIT)


def test_a_change_waits_for_calls_and_calls_wait_for_it(lock, pool):
    order, entered, leave = [], threading.Event(), threading.Event()

    def first():
        with lock.calling():
            entered.set()
            leave.wait(WAIT)
            order.append("call")

    def change():
        with lock.changing():
            order.append("change")

    def second():
        with lock.calling():
            order.append("later call")

    calls = [pool.submit(first)]
    assert entered.wait(WAIT)
    calls.append(pool.submit(change))
    while not lock._waiting:
        pass
    calls.append(pool.submit(second))
    leave.set()
    for done in calls:
        done.result(WAIT)
    assert order == ["call", "change", "later call"]


def test_a_call_within_a_call_does_not_wait_for_a_change_that_waits(lock, pool):
    with lock.calling():
        change = pool.submit(lambda: lock.changing().__enter__())
        while not lock._waiting:
            pass
        with lock.calling():
            assert not change.done()
    change.result(WAIT)


def test_changes_run_one_at_a_time(lock, pool):
    inside, most = [], []

    def change():
        for _ in range(50):
            with lock.changing():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    for done in [pool.submit(change) for _ in range(8)]:
        done.result(WAIT)
    assert max(most) == 1


def test_a_thread_that_changes_may_call_and_change_further(lock):
    with lock.changing(), lock.calling(), lock.changing(), lock.calling():
        pass
    with lock.calling():
        pass


def test_a_change_within_a_call_would_wait_for_itself(lock, pool):
    with lock.calling(), pytest.raises(LoraStateError, match="within a call"), lock.changing():
        pass
    pool.submit(lambda: lock.changing().__enter__()).result(WAIT)


def test_an_error_lets_others_in(lock, pool):
    with pytest.raises(KeyError), lock.changing():
        raise KeyError
    with pytest.raises(KeyError), lock.calling():
        raise KeyError
    pool.submit(lambda: lock.changing().__enter__()).result(WAIT)


def test_each_model_has_one_lock_as_long_as_it_lives(pool):
    class Model:
        pass

    from vertebra._lora.choices import call_lock as module

    model, other = Model(), Model()
    locks = {id(found) for found in pool.map(call_lock, [model] * 50)}
    assert len(locks) == 1
    assert call_lock(other) is not call_lock(model)
    before = len(module._locks)
    del model, other
    gc.collect()
    assert len(module._locks) == before - 2


def test_calls_come_in_while_a_change_waits_for_a_reader_and_readers_do_not(lock, pool):
    def enter(block):
        with block():
            pass

    with lock.reading():
        change = pool.submit(enter, lock.changing)
        while not lock._waiting:
            pass
        pool.submit(enter, lock.calling).result(WAIT)
        reader = pool.submit(enter, lock.reading)
        with lock.reading():
            assert not change.done()
            assert not reader.done()
    for done in (change, reader):
        done.result(WAIT)
    pool.submit(enter, lock.changing).result(WAIT)
