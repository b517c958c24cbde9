"""Programs that serve on the loopback interface, and requests to them.

class Store(Program):
    name, install = "storage-server", "install_store.sh"

    def command(self, folder):
        return [self.name, "--port", str(self.port)]
"""

import contextlib
import ctypes
import http.client
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

DEADLINE = 60.0
"""Seconds within which a program must answer, on a machine that is busy with other things."""


class Program:
    """A server that runs while the context lasts; it ends with this process, too."""

    name: ClassVar[str]
    install: ClassVar[str]
    """The script in this folder that installs it."""

    port: int

    def command(self, folder: Path) -> list[str]:
        """Returns the command that serves at `port` of the loopback interface; `folder` is for its files."""
        raise NotImplementedError

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be started here, or None if it can."""
        return None if shutil.which(cls.name) else f"{cls.name} not installed: see tests/servers/{cls.install}"

    def __enter__(self) -> Self:
        [self.port] = free_ports(1)
        self._folder = tempfile.TemporaryDirectory(prefix=f"vertebra-{self.name}-")
        folder = Path(self._folder.name)
        self._log = folder / "log.txt"
        with self._log.open("w") as log:
            command = self.command(folder)
            self._process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, preexec_fn=die_with_parent)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _wait(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {self._log.read_text()}")
            time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether a server on the loopback interface is ready for requests."""
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
    except OSError:
        return False


def request(
    port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[bytes, http.client.HTTPMessage]:
    """Sends a request to a server on the loopback interface; returns the body and the headers of the response."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as connection:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        answer = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
    return answer, response.headers


def free_ports(count: int) -> list[int]:
    """Returns ports on which nobody listens; all are held until the last is known, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent dies, in case that the parent is killed itself."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
