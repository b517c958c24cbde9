"""The server that the others extend: HTTP/1.1 on the loopback interface, with a log, routes and faults.

class Greeter(LoopbackServer):
    @route("GET", "/hello/(?P<name>[^/]+)")
    def hello(self, request, body, name):
        return Response.json({"hello": name})

    @route("GET", "/files/(?P<name>.+)")
    def file(self, request, body, name):
        return Response.of_file(name, Path(name), {"ETag": '"1"'})     # ranges and faults are the server's concern

with Greeter() as server:
    server.faults = [faults.cut(0.5, files="*.bin", times=1)]
    client(server.url)
    assert [request.target for request in server.requests] == ["/hello/you"]
"""

import contextlib
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO, ClassVar, Self
from urllib.parse import unquote

from servers.faults import Fault, FaultPlan, strike
from servers.messages import Refused, Request, Response
from servers.ranges import select_range
from servers.sending import send

BODY_IN_MEMORY = 1 << 20  # larger bodies of requests are kept in a temporary file
COPY_SIZE = 1 << 20
PATIENCE = 5  # seconds to wait for a thread whose connection is closed already


def route(method: str, pattern: str) -> Callable:
    """Makes a method of a server answer requests.

    Args:
        method: of the requests; GET answers HEAD, too.
        pattern: a regular expression of the whole path, which is still percent-encoded. Its named groups are decoded
            and given to the method, after the request and a file with its body.
    """

    def mark(function: Callable) -> Callable:
        function.routes = [(method, re.compile(pattern)), *getattr(function, "routes", [])]
        return function

    return mark


class LoopbackServer:
    """A threading HTTP server on a free port of 127.0.0.1, for the time of a `with` statement.

    It prints nothing. An exception of a route is answered with status 500, and raised when the `with` statement ends.

    Args:
        host: the name that the server goes by: "localhost" is another origin for clients.
        faults: what goes wrong. Servers that are given the same `FaultPlan` share it.
    """

    _routes: ClassVar[list[tuple[str, re.Pattern, str]]] = []

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = [(*where, name) for name, value in vars(cls).items() for where in getattr(value, "routes", ())]
        cls._routes = own + cls._routes

    def __init__(self, host: str = "127.0.0.1", faults: Iterable[Fault] = ()) -> None:
        self.host = host
        self.port = 0
        self.errors: list[Exception] = []
        self._faults = faults if isinstance(faults, FaultPlan) else FaultPlan(faults)
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """All requests so far: each is here when its body has been read, and before it is answered."""
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Forgets the requests so far."""
        with self._lock:
            self._requests.clear()

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong; a list to change or to replace at any time."""
        return self._faults

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        self._faults[:] = faults

    # === What subclasses extend: methods with a `route`, or all at once ===

    def respond(self, request: Request, body: BinaryIO) -> Response:
        """Answers a request by the first route that fits."""
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, pattern, name in self._routes:
            if wanted == method and (match := pattern.fullmatch(request.path)):
                parts = {key: unquote(text) for key, text in match.groupdict().items() if text is not None}
                return getattr(self, name)(request, body, **parts)
        return Response.json({"error": f"no route for {request.method} {request.path}"}, 404)

    # === Its life ===

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: Any, error: BaseException | None, *__: Any) -> None:
        self.close()
        if self.errors and error is None:
            raise self.errors[0]

    def start(self) -> None:
        """Begins to serve; after `close`, again on the same port."""
        self._stopping.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name=f"{type(self).__name__} {self.port}", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Ends all connections, also those that stall, and waits for their threads."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=PATIENCE).close()  # wakes up the acceptor
        self._acceptor.join(PATIENCE)
        self._listener.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            connection, address = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection, address), daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            _Handler(connection, address, self)
        except OSError:
            pass  # the client has gone, or the server stops
        except Exception as error:
            self.errors.append(error)
        finally:
            with self._lock:
                del self._connections[connection]
            connection.close()

    # === A request ===

    def _handle(self, request: Request, body: BinaryIO) -> Response:
        with self._lock:
            self._requests.append(request)
        faults = self._faults.take(request)
        if any(fault.answers for fault in faults):
            return strike(faults, request, Response())
        response = self._respond_or_explain(request, body)
        if response.file is not None:
            faults += self._faults.take(request, response.file)
        return select_range(request, strike(faults, request, response))

    def _respond_or_explain(self, request: Request, body: BinaryIO) -> Response:
        try:
            return self.respond(request, body)
        except Refused as refused:
            return refused.response
        except Exception as error:
            self.errors.append(error)
            return Response.json({"error": f"{type(error).__name__}: {error}"}, 500)


class _Handler(BaseHTTPRequestHandler):
    """Reads the requests of a connection, and has the server answer them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackServer

    def _answer(self) -> None:
        with tempfile.SpooledTemporaryFile(BODY_IN_MEMORY) as body:
            for piece in self._body():
                body.write(piece)
            request = Request(self.command, self.path, self._headers(), body.tell())
            body.seek(0)
            response = self.server._handle(request, body)
        reusable = send(response, self.connection, self.command != "HEAD", self.server._stopping)
        self.close_connection = self.close_connection or not reusable

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  names that the base class calls

    def _headers(self) -> dict[str, str]:
        names = {name.lower(): name for name in self.headers}
        return {key: ", ".join(self.headers.get_all(name, [])) for key, name in names.items()}

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield from self._read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
        else:
            yield from self._read(int(self.headers.get("Content-Length", 0)))

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, COPY_SIZE))
            if not piece:
                raise ConnectionAbortedError("the client left in the middle of a body")
            size -= len(piece)
            yield piece

    def log_message(self, *_: Any) -> None:
        pass
