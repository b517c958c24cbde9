"""How a response goes over a connection: at full speed, unless faults have changed the way."""

import socket
import struct
import threading
from collections.abc import Iterator
from http import HTTPStatus

from servers.messages import Content, FilePart, Position, Response

REASONS = {status.value: status.phrase for status in HTTPStatus}
PIECES_PER_SECOND = 50  # of a body that is sent slowly


def send(response: Response, connection: socket.socket, with_body: bool, stopping: threading.Event) -> bool:
    """Sends a response; returns whether the connection is good for another one. Pauses end when the server stops."""
    transfer = response.transfer
    if transfer.stall_seconds and transfer.stall_at is None:
        stopping.wait(transfer.stall_seconds)
    if transfer.answered:
        connection.sendall(_head(response))
    if transfer.answered and with_body:
        _send_body(response, connection, stopping)
    if transfer.reset:
        _reset_on_close(connection)
    return transfer.answered and transfer.end is None and not transfer.length_lie


def _head(response: Response) -> bytes:
    transfer = response.transfer
    length = {"Content-Length": str(max(len(response.content) + transfer.length_lie, 0))}
    headers = {**response.headers, **({"Transfer-Encoding": "chunked"} if transfer.chunked else length)}
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, '')}", *map(": ".join, headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _send_body(response: Response, connection: socket.socket, stopping: threading.Event) -> None:
    transfer = response.transfer
    for piece in _pieces(response, stopping):
        if transfer.chunked and len(piece):
            piece = Content.of(b"%x\r\n" % len(piece)) + piece + Content.of(b"\r\n")
        _send_content(piece, connection)
    if transfer.chunked and transfer.end is None:
        connection.sendall(b"0\r\n\r\n")


def _pieces(response: Response, stopping: threading.Event) -> Iterator[Content]:
    """Yields what is sent of the body, in pieces between which there are pauses."""
    transfer, size = response.transfer, len(response.content)
    body = response.content[: _place(transfer.end, size)]
    pause = _place(transfer.stall_at, size)
    yield from _paced(body[:pause], transfer.rate, stopping)
    if transfer.stall_at is not None:
        stopping.wait(transfer.stall_seconds)
    yield from _paced(body[pause:], transfer.rate, stopping)


def _place(position: Position | None, size: int) -> int:
    if position is None:
        return size
    place = position if isinstance(position, int) else int(position * size)
    return max(min(place if place >= 0 else size + place, size), 0)


def _paced(content: Content, rate: float | None, stopping: threading.Event) -> Iterator[Content]:
    """Yields a content, in small pieces with pauses if there is a rate."""
    step = len(content) if rate is None else max(int(rate / PIECES_PER_SECOND), 1)
    for start in range(0, len(content), max(step, 1)):
        piece = content[start : start + step]
        yield piece
        if rate is not None:
            stopping.wait(len(piece) / rate)


def _send_content(content: Content, connection: socket.socket) -> None:
    for part in content.parts:
        if isinstance(part, FilePart):
            with part.path.open("rb") as file:
                connection.sendfile(file, part.start, len(part))
        else:
            connection.sendall(part)


def _reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
