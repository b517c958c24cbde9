"""A source of presets in memory that fails as services do, when it is told to."""

import hashlib
import threading
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot
from vertebra.errors import PresetExistsError, PresetNotFoundError

CHUNK = 1000


class ToyRemote(RemoteSource):
    """Reads `toy://NAME[@REVISION]`.

    Args:
        log: A file that names of transferred files are appended to, for counting over several processes.
    """

    scheme = "toy"
    streams = 1

    def __init__(self, log=None):
        self.presets = {}  # by path: revisions by name, the last one is the newest; each is bytes by name
        self.promises = "sha256"  # of files; None, git, md5 or sha512
        self.asked = []
        self.faults = []  # of the next reads, in order: an error to raise, or a function from the bytes to an answer
        self.unreachable = None
        self.theirs = {}  # where another program has files
        self.tag = None
        self._log, self._lock = log, threading.Lock()

    def add(self, path, files, revision="r1"):
        self.presets.setdefault(path, {})[revision] = {name: bytes(data) for name, data in files.items()}

    def is_pinned(self, handle):
        return handle.revision in self.presets.get(handle.path, {handle.revision: None})

    def resolve_snapshot(self, handle):
        self.asked.append(f"look up {handle}")
        if self.unreachable:
            raise self.unreachable
        revisions = self.presets.get(handle.path)
        if revisions is None:
            raise PresetNotFoundError(handle, "nothing is there")
        revision = list(revisions)[-1] if handle.revision in (None, "main") else handle.revision
        files = [PresetFile(name, len(data), None, self._digest(data)) for name, data in revisions[revision].items()]
        return Snapshot(PresetHandle(handle.scheme, handle.path, revision), files)

    def read(self, handle, file, start=0, stop=None):
        with self._lock:
            self.asked.append(f"read {file.name} {start}")
            fault = self.faults.pop(0) if self.faults else None
            if self._log:
                with Path(self._log).open("a") as log:
                    log.write(f"{file.name}\n")
        if isinstance(fault, Exception):
            raise fault
        data = self.presets[handle.path][handle.revision][file.name]
        return fault(data, start) if fault else answer(data[:stop], start, total=len(data), etag=self.tag)

    def external_file(self, handle, file):
        return self.theirs.get(file.name)

    def upload(self, handle, files, replace, message):
        if handle.path in self.presets and not replace:
            raise PresetExistsError(handle, "another preset is there", "Choose another target")
        revision = f"r{len(self.presets.get(handle.path, {})) + 1}"
        self.add(handle.path, {name: path.read_bytes() for name, path in files.items()}, revision)
        self.asked.append(f"upload {message}")
        return PresetHandle(handle.scheme, handle.path, revision)

    def reads(self):
        """Returns the requests that read files, without those that resolved handles."""
        return [text.removeprefix("read ") for text in self.asked if text.startswith("read ")]

    def _digest(self, data):
        if self.promises == "git":
            return f"git:{hashlib.sha1(b'blob %d' % len(data) + bytes(1) + data).hexdigest()}"
        return self.promises and f"{self.promises}:{hashlib.new(self.promises, data).hexdigest()}"


def answer(data, start=0, error=None, **facts):
    """Returns an answer with the bytes from a position on, which breaks off with an error if there is one."""

    def chunks():
        for position in range(start, len(data), CHUNK):
            yield data[position : position + CHUNK]
        if error is not None:
            raise error

    return ByteStream(chunks(), start, **facts)
