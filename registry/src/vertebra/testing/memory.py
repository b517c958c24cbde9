"""`MemorySource`: a source of presets whose files are in memory, for tests of code that reads or uploads presets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from vertebra.errors import PresetExistsError, PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.remote import ByteStream, RemoteSource, Snapshot
from vertebra.specs import PresetFile

Files = Mapping[str, bytes]
_CHUNK = 4096


class MemorySource(RemoteSource):
    """Reads `memory://PATH[@REVISION]`; every version of a preset has a revision, made of its files.

    The core wraps it in the cache as any remote source. `requests` counts what the cache asked for.

    Examples:
        >>> source = MemorySource()
        >>> handle = source.add("team/bert", {"config.json": b"{}"})  # memory://team/bert, the newest revision
    """

    scheme: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self._presets: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        """The requests so far, such as `files team/bert` or `read config.json`."""

    def add(self, path: str, files: Files) -> PresetHandle:
        """Adds a version of a preset, which becomes the newest; returns the handle without its revision."""
        self._add(path, files)
        return PresetHandle(self.scheme, path)

    def is_pinned(self, handle: PresetHandle) -> bool:
        return handle.revision is not None

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        self.requests.append(f"files {handle.path}")
        revisions = self._presets.get(handle.path, {})
        revision = handle.revision or next(reversed(revisions), None)
        if revision not in revisions:
            raise PresetNotFoundError(
                handle, f"{len(revisions)} revisions of {handle.path!r} are in memory, not this one"
            )
        files = [
            PresetFile(name, len(content), None, f"sha256:{hashlib.sha256(content).hexdigest()}")
            for name, content in revisions[revision].items()
        ]
        return Snapshot(PresetHandle(self.scheme, handle.path, revision), files)

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        self.requests.append(f"read {file.name}")
        content = self._presets[handle.path][str(handle.revision)][file.name]
        part = content[start:stop]
        chunks = (part[position : position + _CHUNK] for position in range(0, len(part), _CHUNK))
        return ByteStream(chunks, start, len(content))

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        content = {name: path.read_bytes() for name, path in files.items()}
        newest = next(reversed(self._presets.get(handle.path, {}).values()), content)
        if newest != content and not replace:
            raise PresetExistsError(handle, "another preset is there", "Use replace=True, or choose another target")
        if handle.revision is not None:
            self._presets.setdefault(handle.path, {})[handle.revision] = content
            return handle
        return PresetHandle(self.scheme, handle.path, self._add(handle.path, content))

    def _add(self, path: str, files: Files) -> str:
        content = {name: bytes(data) for name, data in files.items()}
        digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()
        revisions = self._presets.setdefault(path, {})
        revisions.pop(digest, None)  # the newest is the last
        revisions[digest] = content
        return digest
