"""Azurite, Microsoft's emulator of Azure Blob Storage, on loopback; it keeps everything in memory.

with Azurite() as service:
    service.create_container("models")
    AzureStore("models", endpoint=service.endpoint, account_name=service.account, account_key=service.key)
"""

import base64
import contextlib
import email.utils
import hashlib
import hmac
import http.client
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from servers.radosgw import die_with_parent, free_ports

PROGRAM = "azurite-blob"
DEADLINE = 60.0
VERSION = "2021-08-06"


def missing() -> str | None:
    """Why no emulator can be started here, or None if one can."""
    absent = shutil.which(PROGRAM) is None
    return f"{PROGRAM} not installed: see tests/servers/install_azurite.sh" if absent else None


class Azurite:
    """An emulator that runs while the context lasts; it ends with this process, too.

    `account` and `key` are those that all emulators have.
    """

    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __enter__(self) -> Self:
        [self.port] = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{self.port}/{self.account}"
        self._folder = tempfile.TemporaryDirectory(prefix="vertebra-azurite-")
        options = ("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck")
        with Path(self._folder.name, "log.txt").open("w") as output:
            self._process = subprocess.Popen(
                [PROGRAM, *options, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)],
                cwd=self._folder.name,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
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

    def create_container(self, name: str) -> None:
        """Creates a container."""
        self.request("PUT", f"/{self.account}/{name}?restype=container")

    def put(self, path: str, content: bytes) -> None:
        """Writes a blob, as other tools do."""
        self.request("PUT", f"/{self.account}/{path}", content, {"x-ms-blob-type": "BlockBlob"})

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        """Sends a request that is signed with the key of the account; returns the body of the response."""
        own = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION, **(headers or {})}
        described = "".join(f"{name}:{own[name]}\n" for name in sorted(own))
        resource, _, query = path.partition("?")
        parameters = "".join(f"\n{text.replace('=', ':')}" for text in sorted(filter(None, query.split("&"))))
        lines = [method, "", "", str(len(body)) if body else "", *[""] * 8]
        text = "\n".join(lines) + f"\n{described}/{self.account}{resource}{parameters}"
        signature = base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), hashlib.sha256)).decode()
        own["Authorization"] = f"SharedKey {self.account}:{signature}"
        with contextlib.closing(self._connect()) as connection:
            connection.request(method, path, body or None, {**own, "Content-Length": str(len(body))})
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def _wait(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while True:
            with contextlib.suppress(OSError), contextlib.closing(self._connect()) as connection:
                connection.request("GET", "/")
                connection.getresponse().read()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Azurite did not start")
            time.sleep(0.05)
