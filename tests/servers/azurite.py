"""Azurite, Microsoft's emulator of Azure Blob Storage, on loopback; it keeps everything in memory.

with Azurite() as service:
    service.create_container("models")
    AzureStore("models", endpoint=service.endpoint, account_name=service.account, account_key=service.key)
"""

import base64
import email.utils
import hashlib
import hmac
from pathlib import Path

from servers import programs

VERSION = "2021-08-06"


class Azurite(programs.Program):
    """An emulator with the account and the key that all emulators have."""

    name, install = "azurite-blob", "install_azurite.sh"
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.account}"

    def command(self, folder: Path) -> list[str]:
        options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        return [self.name, *options, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)]

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
        answer, _ = programs.request(self.port, method, path, body, {**own, "Content-Length": str(len(body))})
        return answer
