"""Runs the payloads of advisories, and finds out what they must not do."""

import base64
import contextlib
import ctypes
import importlib.util
import marshal
import os
import pickle
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from faults.advisories import objects, pickles
from faults.advisories.payload import SECRET, Operations, Payload, Site, unopened

from fuzz.target import changed_settings
from fuzz.watch import MOST_MEMORY, Watch, prepared
from servers.http import LoopbackServer
from vertebra._configuration.settings import settings
from vertebra._weights.reader import process

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "10"))


class Runs:
    """Runs payloads one after the other, in folders of their own.

    The first two operations of each payload are called, and all of each fifth one; all of each if
    `VERTEBRA_FAULT_RUNS` is 100 or more.

    Args:
        folder: An empty folder.
        presets: Sound presets by name.
    """

    def __init__(self, folder: Path, presets: Mapping[str, Path]) -> None:
        self._folder, self._presets, self._count = folder, dict(presets), 0
        self._outside = folder / "outside"
        self._outside.mkdir()
        (self._outside / "secret.txt").write_bytes(SECRET)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Has payloads be run until the context ends."""
        root = self._folder / "watched"
        with (
            prepared(root) as files,
            changed_settings(VERTEBRA_CACHE=str(root / "cache"), HOME=str(root / "home")),
            LoopbackServer() as other,
            unopened(self._outside) as unread,
        ):
            settings()  # so that no payload is the first to read them
            self._files, self._other, self._unread = files, other, unread
            yield

    def run(self, payload: Payload) -> list[str]:
        """Runs the operations of a payload; returns their outcomes.

        Raises:
            AssertionError: the payload ran, or changed or read anything out of its folder, or sent a request.
        """
        site = self._site()
        with contextlib.ExitStack() as stack:
            operations = payload.write(site, stack) if payload.serves else payload.write(site)
            readers = getattr(process.subprocess, "seconds", float)
            watch = Watch(self._folder / "watched", ports=site.ports, forks=True, children=readers)
            self._unread.events()
            chosen = operations if RUNS >= 100 or self._count % 5 == 1 else operations[:2]
            outcomes = [watch.run(operation, payload.refusals) for operation in chosen]
        assert self._unread.events() == [], "it touched a folder of other files"
        assert {path.name: path.read_bytes() for path in self._outside.iterdir()} == {"secret.txt": SECRET}
        assert [*self._folder.rglob("flag*")] == [], "it ran"
        assert [request.target for request in self._other.requests] == [], "it sent a request"
        return outcomes

    def _site(self) -> Site:
        self._count += 1
        folder = self._files / str(self._count)
        folder.mkdir()
        return Site(folder, self._files / "flag", self._outside, self._presets, self._other.port)


def check(runs: Runs, payloads: Sequence[Payload]) -> None:
    """Runs payloads, and skips the test if some need packages that are not installed."""
    possible = [payload for payload in payloads if all(map(importlib.util.find_spec, payload.needs))]
    failed = failures(runs, possible)
    assert not failed, "\n".join(f"{name}: {reason}" for name, reason in failed.items())
    if missing := {name for payload in payloads for name in payload.needs if not importlib.util.find_spec(name)}:
        pytest.skip(f"{len(payloads) - len(possible)} of {len(payloads)} payloads need {', '.join(sorted(missing))}")


def failures(runs: Runs, payloads: Sequence[Payload]) -> dict[str, str]:
    """Runs payloads; returns what each did that it must not do."""
    failed = {}
    for payload in payloads:
        try:
            first, *_ = runs.run(payload)
        except Exception as error:
            failed[payload.name] = f"{type(error).__name__}: {error}"
        else:
            if (first == "accepted") is not payload.ignored:
                failed[payload.name] = first
    return failed


# === What the runs must see ===


def opened(site: Site) -> Operations:
    return [site.secret.read_bytes]


def opened_by_a_library(site: Site) -> Operations:
    """Opens a file without a word to Python, as a library in C does."""
    library = ctypes.CDLL(None)
    return [lambda: os.close(library.open(os.fsencode(site.secret), os.O_RDONLY))]


def written(site: Site) -> Operations:
    return [site.flag.touch]


def loaded(site: Site) -> Operations:
    return [partial(pickle.loads, pickles.plain(site.flag))]


def called(site: Site) -> Operations:
    code = marshal.loads(base64.b64decode(objects.bytecode(site.flag)))
    return [lambda: exec(code, {})]


def asked(site: Site) -> Operations:
    return [lambda: socket.create_connection(("127.0.0.1", site.other_port)).close()]


def imported(_: Site) -> Operations:
    sys.modules.pop("colorsys", None)
    return [partial(importlib.import_module, "colorsys")]


def changed(_: Site) -> Operations:
    return [partial(os.environ.__setitem__, "PAYLOAD", "1")]


def failed_otherwise(_: Site) -> Operations:
    return [partial(int, "payload")]


def grown(_: Site) -> Operations:
    return [lambda: len(b"a" * (MOST_MEMORY + 2**25))]


def hanging(_: Site) -> Operations:
    return [lambda: [None for _ in iter(int, 1)]]


FORBIDDEN = {
    opened: "opened '",
    opened_by_a_library: "touched a folder",
    written: "it ran",
    loaded: "ran code (pickle.find_class",
    called: "it ran",
    asked: "used the network",
    imported: "imported colorsys",
    changed: "changed the environment",
    failed_otherwise: "ValueError",
    grown: "has grown",
    hanging: "processor time",
}
"""Operations that no payload may cause, with words of the report."""
