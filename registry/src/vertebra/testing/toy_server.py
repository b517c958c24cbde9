"""`ToyServer`: a web service of presets on the loopback interface, for tests of downloads, faults and uploads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from vertebra.errors import SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.http import Transport
from vertebra.remote import ByteStream, RemoteSource, Snapshot
from vertebra.specs import PresetFile

Files = Mapping[str, bytes]


class ToySource(RemoteSource):
    """Reads `toy://PATH[@REVISION]` from a `ToyServer`.

    Args:
        url: Base URL of the server.
        token: A credential that is sent with every request, or None.
    """

    scheme: ClassVar[str] = "toy"

    def __init__(self, url: str, token: str | None = None) -> None:
        self._service = Transport(url, token=lambda: token)

    def is_pinned(self, handle: PresetHandle) -> bool:
        return handle.revision is not None

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        index = self._service.json(handle, f"{handle.path}/{handle.revision or 'newest'}.json")
        try:
            files = [PresetFile(f["name"], f["size"], digest=f"sha256:{f['sha256']}") for f in index["files"]]
            return Snapshot(PresetHandle(self.scheme, handle.path, index["revision"]), files)
        except (LookupError, TypeError):
            raise SourceUnavailableError(handle, "its index is damaged") from None

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        return self._service.read(handle, file, f"{handle.path}/{handle.revision}/{file.name}", start, stop)


class ToyServer:
    """A web server with presets in memory, which sends ranges, redirects, and faults that a test switches on.

    Examples:
        >>> with ToyServer() as server:
        ...     handle = server.publish("team/bert", {"config.json": b"{}"})
        ...     source = server.source()
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        """Path and `Authorization` header of each request."""
        self.location: str | None = None
        """A URL to which every request is redirected, or None."""
        self._files: dict[str, bytes] = {}
        self._cuts: dict[str, int | None] = {}
        self._flipped: set[str] = set()
        self._opened = ExitStack()

    def __enter__(self) -> ToyServer:
        server = self._opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._answer)))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self._opened.callback(thread.join)
        self._opened.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def source(self, token: str | None = None) -> ToySource:
        """Returns a source that reads from this server."""
        return ToySource(self.url, token)

    def publish(self, path: str, files: Files) -> PresetHandle:
        """Publishes a version of a preset, which becomes the newest; returns the handle without its revision."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        revision = hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16]
        listed = [{"name": name, "size": len(files[name]), "sha256": digests[name]} for name in files]
        index = json.dumps({"revision": revision, "files": listed}).encode()
        self._files |= {f"/{path}/{revision}/{name}": bytes(content) for name, content in files.items()}
        self._files |= {f"/{path}/{name}.json": index for name in (revision, "newest")}
        return PresetHandle(ToySource.scheme, path)

    # === Faults, as `vertebra.testing.Faults` ===

    def cut(self, name: str, times: int | None) -> None:
        """Cuts off the next downloads of a file halfway; all of them if `times` is None."""
        self._cuts[name] = times

    def flip(self, name: str) -> None:
        """Sends a file with one wrong bit from now on."""
        self._flipped.add(name)

    def heal(self) -> None:
        """Removes all faults."""
        self._cuts.clear()
        self._flipped.clear()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        self.requests.append((path, request.headers["Authorization"]))
        if self.location is not None:
            _send(request, 302, b"", Location=self.location)
        elif path not in self._files:
            _send(request, 404, b"")
        else:
            self._send_file(request, path)

    def _send_file(self, request: BaseHTTPRequestHandler, path: str) -> None:
        content, name = self._files[path], next((name for name in self._named() if path.endswith(f"/{name}")), "")
        if name in self._flipped:
            content = bytes([content[0] ^ 1]) + content[1:]
        start, stop, total = 0, len(content), len(content)
        bounds = request.headers["Range"]
        headers: dict[str, str] = {}
        if bounds and content:
            first, _, last = bounds.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else total, total)
            headers = {"Content-Range": f"bytes {start}-{stop - 1}/{total}"}
        _send(request, 206 if headers else 200, content[start:stop], cut=self._is_cut(name), **headers)

    def _named(self) -> set[str]:
        return self._flipped | self._cuts.keys()

    def _is_cut(self, name: str) -> bool:
        left = self._cuts.get(name, 0)
        if left:
            self._cuts[name] = left - 1
        return left is None or left > 0


def _handler(answer: Callable[[BaseHTTPRequestHandler], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, cut: bool = False, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body[: len(body) // 2] if cut else body)
    request.close_connection = request.close_connection or cut
