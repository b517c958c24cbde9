"""A proxy before a storage service or a registry, that forwards what it gets and has the faults of the other servers.

    with RadosGateway() as gateway, FaultProxy(gateway) as proxy:
        proxy.faults = [faults.cut(0.5, files="*.safetensors", times=1)]
        S3Store("models", endpoint=proxy.url, …)

Faults for `files` strike the bodies of objects, by key.
"""

import contextlib
import http.client
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from servers.azurite import Azurite
from servers.faults import Fault
from servers.http import COPY_SIZE, LoopbackServer
from servers.messages import Content, FilePart, Refused, Request, Response
from servers.oci_registry import OciRegistry
from servers.radosgw import RadosGateway

OF_A_CONNECTION = {"connection", "content-length", "keep-alive", "transfer-encoding"}
"""Headers that are about a connection, and not about the message."""
SPELLING = {"etag": "ETag", "content-range": "Content-Range"}
"""Headers that the server looks at, for services that write them in another way."""
IN_MEMORY = 1 << 20
PATIENCE = 60  # seconds to wait for the gateway


class FaultProxy(LoopbackServer):
    """Forwards requests as they are, Host included: signatures cover it.

    Args:
        gateway: what answers.
        faults: what goes wrong.
    """

    def __init__(self, gateway: RadosGateway | OciRegistry | Azurite, faults: Iterable[Fault] = ()) -> None:
        super().__init__(faults=faults)
        self.gateway = gateway

    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vertebra-proxy-")
        super().start()

    def close(self) -> None:
        super().close()
        self._folder.cleanup()

    def respond(self, request: Request, body: BinaryIO) -> Response:
        response = self._forward(request, body)
        key = object_key(request)
        if key is None or response.status not in (200, 206) or not self._may_strike(request, key):
            return response
        return self._as_file(request, key, response)

    def _may_strike(self, request: Request, key: str) -> bool:
        return any(fault.fits(request, key) for fault in self.faults)

    def _as_file(self, request: Request, key: str, response: Response) -> Response:
        """Returns the whole object, of which faults are a matter; the range that was asked for is then taken of it."""
        if response.status == 200:
            return Response(200, response.headers, response.content, key)
        headers = {name: text for name, text in response.headers.items() if name != "Content-Range"}
        return Response(200, headers, Content.of(self.gateway.request("GET", request.path)), key)

    # === Forwarding ===

    def _forward(self, request: Request, body: BinaryIO) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            try:
                send_request(connection, request, body)
                return self._received(request, connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                raise Refused(Response.json({"error": f"no answer from the gateway: {error}"}, 502)) from error

    def _received(self, request: Request, answer: http.client.HTTPResponse) -> Response:
        headers = {SPELLING.get(n, n): text for n, text in answer.getheaders() if n.lower() not in OF_A_CONNECTION}
        if request.method == "HEAD":
            # The size of a body that is not sent.
            size = int(answer.getheader("Content-Length", 0))
            return Response(answer.status, headers, Content((FilePart(Path(os.devnull), 0, size),)))
        return Response(answer.status, headers, self._kept(answer))

    def _kept(self, answer: http.client.HTTPResponse) -> Content:
        """Returns the body of an answer, in memory if it is small, else in a file until the proxy is closed."""
        beginning = answer.read(IN_MEMORY)
        if len(beginning) < IN_MEMORY:
            return Content.of(beginning)
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as file:
            file.write(beginning)
            shutil.copyfileobj(answer, file, COPY_SIZE)
        return Content.of(Path(file.name))


def object_key(request: Request) -> str | None:
    """Returns the key of the object whose content is asked for, or None if something else is."""
    _, _, key = request.path.lstrip("/").partition("/")
    asked = {name for name in request.query if not name.startswith("X-Amz-")}  # those are a signature
    if request.method != "GET" or not key or asked - {"versionId"}:
        return None
    return unquote(key)


def send_request(connection: http.client.HTTPConnection, request: Request, body: BinaryIO) -> None:
    connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
    for name, text in request.headers.items():
        if name not in OF_A_CONNECTION:
            connection.putheader(name, text)
    if request.body_size or request.method in ("PUT", "POST"):
        connection.putheader("Content-Length", str(request.body_size))
    connection.endheaders()
    while piece := body.read(COPY_SIZE):
        connection.send(piece)
