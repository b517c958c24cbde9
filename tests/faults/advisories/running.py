"""Runs the payloads of advisories, and finds out what they must not do."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from faults.advisories.payload import SECRET, Payload, Site, unopened

from fuzz.target import changed_settings
from fuzz.watch import Watch, prepared
from servers.http import LoopbackServer
from vertebra._configuration.settings import settings


class Runs:
    """Runs payloads one after the other, in folders of their own.

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
            settings()
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
            watch = Watch(self._folder / "watched", ports=site.ports, forks=True, children=True)
            self._unread.events()
            outcomes = [watch.run(operation, payload.refusals) for operation in operations]
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


def failures(runs: Runs, payloads: list[Payload]) -> dict[str, str]:
    """Runs payloads that may run here; returns the reason for each that failed."""
    failed = {}
    for payload in payloads:
        if not all(map(importlib.util.find_spec, payload.needs)):
            continue
        try:
            first, *_ = runs.run(payload)
        except Exception as error:
            failed[payload.name] = f"{type(error).__name__}: {error}"
        else:
            if os.environ.get("SHOW"):
                print(payload.name, "->", first)
            if (first == "accepted") is not payload.ignored:
                failed[payload.name] = first
    return failed
