"""The registry of the Distribution project on loopback, which keeps everything in memory, and a service of its tokens.

    with OciRegistry() as registry:
        url = registry.url                       # anyone may read and write
    with TokenService({"acme": "secret"}) as service, OciRegistry(service) as registry:
        ...                                      # tokens, as on all public registries

The token service answers the challenge of the registry: anyone may read repositories below `public/`, users everything.
"""

import base64
import hashlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

from servers import programs
from servers.http import LoopbackServer, route
from servers.messages import Refused, Request, Response

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ISSUER, SERVICE = "tests", "registry"
LIFETIME = 300
PUBLIC = "public/"
"""The beginning of repositories that anyone may read."""

CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage:
  inmemory: {{}}
  cache: {{blobdescriptor: inmemory}}
http: {{addr: "127.0.0.1:{port}", secret: tests}}
{auth}
"""
TOKENS = """
auth:
  token: {{realm: "{url}/token", service: {service}, issuer: {issuer}, rootcertbundle: "{certificate}"}}
"""


class TokenService(LoopbackServer):
    """Signs tokens for a registry; an identity token is a user's password, sent as a refresh token.

    Args:
        users: the password of each user.
    """

    def __init__(self, users: dict[str, str], host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self.users = users

    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vertebra-tokens-")
        self.key, self.certificate = Path(self._folder.name, "key.pem"), Path(self._folder.name, "certificate.pem")
        subject = ("-subj", "/CN=tests", "-days", "2")
        files = ("-keyout", str(self.key), "-out", str(self.certificate))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject],
            check=True,
            capture_output=True,
        )
        super().start()

    def close(self) -> None:
        super().close()
        self._folder.cleanup()

    @route("GET", "/token")
    def issue(self, request: Request, body: BinaryIO) -> Response:
        user = self._basic_user(request.headers.get("authorization"))
        return Response.json({"token": self._token(user, request.query.get("scope", "")), "expires_in": LIFETIME})

    @route("POST", "/token")
    def refresh(self, request: Request, body: BinaryIO) -> Response:
        form = {name: values[0] for name, values in parse_qs(body.read().decode()).items()}
        users = [user for user, password in self.users.items() if password == form.get("refresh_token")]
        if form.get("grant_type") != "refresh_token" or not users:
            raise Refused(Response.json({"error": "invalid_grant"}, 401))
        return Response.json({"access_token": self._token(users[0], form.get("scope", "")), "expires_in": LIFETIME})

    def _basic_user(self, header: str | None) -> str | None:
        if header is None:
            return None
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        if self.users.get(user) != password:
            raise Refused(Response.json({"errors": [{"code": "UNAUTHORIZED"}]}, 401))
        return user

    def _token(self, user: str | None, scope: str) -> str:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = actions.split(",") if user else ["pull"] if name.startswith(PUBLIC) else []
        now = int(time.time())
        times = {"exp": now + LIFETIME, "nbf": now - 10, "iat": now}
        access = [{"type": kind, "name": name, "actions": allowed}] if allowed else []
        claims = {"iss": ISSUER, "sub": user or "", "aud": SERVICE, **times, "jti": str(now), "access": access}
        chain = "".join(self.certificate.read_text().splitlines()[1:-1])
        head = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signature = subprocess.run(command, input=signed, check=True, capture_output=True).stdout
        return (signed + b"." + _encoded(signature)).decode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class OciRegistry(programs.Program):
    """A registry.

    Args:
        tokens: the service of its tokens; without one, anyone may read and write.
    """

    name, install = "docker-registry", "install_registry.sh"

    def __init__(self, tokens: TokenService | None = None) -> None:
        self.tokens = tokens

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self, folder: Path) -> list[str]:
        configuration = folder / "config.yml"
        configuration.write_text(CONFIGURATION.format(port=self.port, auth=self._auth()))
        return [self.name, "serve", str(configuration)]

    def _auth(self) -> str:
        if self.tokens is None:
            return ""
        names = {"service": SERVICE, "issuer": ISSUER, "certificate": self.tokens.certificate}
        return TOKENS.format(url=self.tokens.url, **names)

    # === As another program, without tokens ===

    def request(self, method: str, path: str, body: bytes = b"", content_type: str | None = None) -> bytes:
        """Sends a request; returns the body of the response."""
        headers = {"Accept": f"{MANIFEST}, {INDEX}"} | ({"Content-Type": content_type} if content_type else {})
        answer, received = programs.request(self.port, method, path, body, headers)
        self.location = received["Location"]
        return answer

    def put_blob(self, repository: str, content: bytes, digest: str | None = None) -> dict[str, Any]:
        """Stores a blob, by its SHA-256 if no digest is given; returns digest and size, as a descriptor has them."""
        digest = digest or digest_of(content)
        self.request("POST", f"/v2/{repository}/blobs/uploads/")
        target = self.location.partition(self.host)[2]
        self.request("PUT", f"{target}&digest={digest}", content, "application/octet-stream")
        return {"digest": digest, "size": len(content)}

    def put_manifest(self, repository: str, tag: str, document: dict[str, Any]) -> str:
        """Stores a manifest or an index under a tag; returns its digest."""
        data = json.dumps(document).encode()
        self.request("PUT", f"/v2/{repository}/manifests/{tag}", data, document["mediaType"])
        return digest_of(data)
