"""Memory: the machine's, or a container's where that is smaller."""

import pytest

from vertebra._system import memory as _memory
from vertebra._system.memory import Memory, host_memory

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns a function that makes a machine of it: its memory in GiB, and the files of a container."""

    def make(total=16, free=10, **container):
        monkeypatch.setattr(_memory, "_MEMINFO", tmp_path / "meminfo")
        monkeypatch.setattr(_memory, "_CONTAINER", tmp_path)
        sizes = {"SC_PHYS_PAGES": total * GIB // 4096, "SC_AVPHYS_PAGES": GIB // 4096, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr("os.sysconf", sizes.__getitem__)
        if free is not None:
            (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {free * GIB // 1024} kB\n")
        for name, text in container.items():
            (tmp_path / f"memory.{name}").write_text(text)

    return make


def test_what_this_machine_has_is_some_of_it_free():
    memory = host_memory()
    assert memory.total is None or memory.total > 2**26
    assert memory.free is None or 0 < memory.free <= (memory.total or memory.free)


@pytest.mark.parametrize("container", [{}, {"max": "max\n", "current": "5"}, {"max": f"{32 * GIB}", "current": "5"}])
def test_a_machine_without_a_smaller_container(machine, container):
    machine(**container)
    assert host_memory() == Memory(16 * GIB, 10 * GIB)


@pytest.mark.parametrize(("used", "free"), [(1, 3), (4, 0)])
def test_a_container_gives_what_is_left_of_its_limit(machine, used, free):
    machine(max=f"{4 * GIB}\n", current=f"{used * GIB}\n")
    assert host_memory() == Memory(4 * GIB, free * GIB)


def test_a_container_cannot_give_what_the_machine_has_not(machine):
    machine(free=2, max=f"{8 * GIB}", current="0")
    assert host_memory() == Memory(8 * GIB, 2 * GIB)


def test_without_meminfo_free_pages_are_what_is_free(machine):
    machine(free=None)
    assert host_memory() == Memory(16 * GIB, GIB)


def test_where_nothing_can_be_told_nothing_is_said(machine, monkeypatch):
    machine(free=None)
    monkeypatch.delattr("os.sysconf")
    assert host_memory() == Memory(None, None)
