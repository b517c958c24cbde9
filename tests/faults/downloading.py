"""What the children of the tests of downloads run: they fetch a preset into a cache.

usage: downloading.py HANDLE PROCESSES [MODULE...]

Imports the modules, prints "ready", waits for a line, and fetches everything in as many processes at once. Prints, as
JSON, what each found: the SHA-256 of each file, or the name of an error.
"""

import gc
import hashlib
import importlib
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot, add_plugin, hookimpl
from vertebra._cache import cached_source, leases, store  # noqa: F401 (before the fork)
from vertebra._cache.transfer import download, progress  # noqa: F401 (before the fork)
from vertebra._cache.transfer import fetch as fetching  # noqa: F401 (the same)
from vertebra._discovery.catalog import SOURCES, catalog
from vertebra._resolve.open import open_folder
from vertebra.errors import VertebraError

CONTENTS = {
    "config.json": b'{"layers": 2}',
    "model.safetensors": bytes(range(256)) * 2_000,
    "assets/vocabulary.txt": b"one\ntwo\n",
}
PINNED = PresetHandle("toy", "team/model", "1")


class ToySource(RemoteSource):
    """Has one preset in memory, without any promise of what its files hash to."""

    scheme = "toy"

    def is_pinned(self, handle: PresetHandle) -> bool:
        return handle == PINNED

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        return Snapshot(PINNED, [PresetFile(name, len(content)) for name, content in CONTENTS.items()])

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        return ByteStream(_chunks(CONTENTS[file.name][start:stop]), start, file.size)


class FlippingSource(ToySource):
    """Promises what the files hash to, and gives them out with one bit wrong, each time another one."""

    scheme = "flipping"

    def is_pinned(self, handle: PresetHandle) -> bool:
        return handle.revision == "1"

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        promises = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in CONTENTS.items()}
        files = [PresetFile(name, len(content), None, promises[name]) for name, content in CONTENTS.items()]
        return Snapshot(PresetHandle(handle.scheme, handle.path, "1"), files)

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        flipped = bytearray(CONTENTS[file.name])
        flipped[random.randrange(start, file.size)] ^= 1 << random.randrange(8)
        return ByteStream(_chunks(bytes(flipped[start:stop])), start, file.size)


class Toys:
    """The plugin."""

    @hookimpl
    def vertebra_preset_sources(self) -> list[RemoteSource]:
        return [ToySource(), FlippingSource()]


def import_plugins() -> None:
    """Finds the sources of all plugins, so that no fork has to."""
    add_plugin(Toys(), "toys")
    catalog(SOURCES)


def fetch(handle: str) -> dict[str, str]:
    """Fetches everything of a preset; returns what its files hash to, or which error there was."""
    try:
        folder = open_folder(handle)
        names = sorted(folder.names)
        paths = folder.fetch_all(names)
    except VertebraError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in zip(names, paths, strict=True)}


def fetch_at_once(handle: str, processes: int) -> list[dict[str, str]]:
    """Does so in several processes."""
    if processes == 1:
        return [fetch(handle)]
    children = [_fork(handle, Path(f"found-{number}.json")) for number in range(processes)]
    for child in children:
        os.waitpid(child, 0)
    return [json.loads(path.read_text()) for path in sorted(Path().glob("found-*.json"))]


def main() -> None:
    """Is a child."""
    handle, processes, *modules = sys.argv[1:]
    import_plugins()
    for module in modules:
        importlib.import_module(module)
    exec(os.environ.get("PREPARE", ""))
    gc.freeze()  # else the collector of each fork would copy the memory that it shares
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(fetch_at_once(handle, int(processes))), flush=True)


def _fork(handle: str, target: Path) -> int:
    child = os.fork()
    if not child:
        target.write_text(json.dumps(fetch(handle)))
        os._exit(0)
    return child


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


if __name__ == "__main__":
    main()
