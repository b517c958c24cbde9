"""Blocks in which Python's collector waits."""

import gc
import os
import threading

import pytest

from vertebra._system import garbage


@pytest.fixture(autouse=True)
def pause(monkeypatch):
    """The blocks of a new process."""
    monkeypatch.setattr(garbage, "_pause", garbage._Pause())
    assert gc.isenabled()
    yield
    gc.enable()


def test_the_collector_waits_within_blocks():
    with garbage.no_collection():
        assert not gc.isenabled()
        with garbage.no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_runs_again_after_an_error():
    with pytest.raises(KeyError), garbage.no_collection():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    with garbage.no_collection():
        pass
    assert not gc.isenabled()


def test_it_runs_in_programs_that_load_on_and_on():
    for _ in range(garbage._MOST_BLOCKS):
        with garbage.no_collection():
            assert not gc.isenabled()
    with garbage.no_collection():
        assert gc.isenabled()


def test_the_last_thread_lets_it_run():
    entered, leave = threading.Barrier(2), threading.Event()

    def block():
        with garbage.no_collection():
            entered.wait()
            leave.wait()

    thread = threading.Thread(target=block)
    thread.start()
    entered.wait()
    with garbage.no_collection():
        pass
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_it_runs_in_a_forked_process():
    with garbage.no_collection():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not gc.isenabled()
