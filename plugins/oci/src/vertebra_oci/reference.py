"""Parses handles: a registry, a repository, and a tag or digest."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from vertebra import PresetHandle
from vertebra.errors import HandleError, PresetNotFoundError

PLAIN_HTTP = "OCI_PLAIN_HTTP"
NEWEST = "latest"
"""The tag of a handle without one, as of all tools for registries."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+(?::[0-9]{1,5})?")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_SHAPE = "Write oci://registry/repository, optionally followed by :tag or @sha256:digest"
_KNOWN = re.compile(
    r"(?:docker|ghcr|quay)\.io|registry\.gitlab\.com|(?:localhost|127\.0\.0\.1):[0-9]+"
    r"|[\w.-]+\.(?:azurecr\.io|pkg\.dev)|[0-9]+\.dkr\.ecr\.[\w-]+\.amazonaws\.com"
)
"""Hosts of registries, by which a reference without a scheme is recognised."""
_ADDRESSES = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
"""Addresses of registries that have another one than their name."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact in a registry."""

    registry: str
    """Host, and port if there is one."""
    repository: str
    tag: str
    """A tag, or a digest."""

    @property
    def base(self) -> str:
        """URL of the registry."""
        scheme = "http" if _is_plain(self.registry) else "https"
        return f"{scheme}://{_ADDRESSES.get(self.registry, self.registry)}"

    def may_send_login_to(self, url: str) -> bool:
        """Returns whether the user's credentials may be sent to a service that the registry has named.

        That is if they are encrypted on the way, or if the user allows the registry's own host, or the service's, to be
        read without encryption.
        """
        service = urlsplit(url)
        same_host = service.hostname == urlsplit(self.base).hostname
        host = service.netloc.rpartition("@")[2]
        return service.scheme == "https" or _is_plain(host) or (same_host and _is_plain(self.registry))

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}{'@' if is_digest(self.tag) else ':'}{self.tag}"


def reference_of(handle: PresetHandle) -> Reference:
    """Returns the artifact that a handle names.

    Raises:
        HandleError: the handle is not valid in a registry.
        PresetNotFoundError: the handle has two tags, or a revision that is neither a tag nor a digest.
    """
    registry, _, path = handle.path.partition("/")
    repository, _, tag = path.partition(":")
    if not _HOST.fullmatch(registry) or not re.search(r"[.:]|^localhost$", registry):
        raise HandleError(str(handle), f"{registry!r} is not the host of a registry", _SHAPE)
    if not repository or not all(map(_NAME.fullmatch, repository.split("/"))):
        raise HandleError(str(handle), f"{repository!r} is not a repository, a path in lower case", _SHAPE)
    if ":" in path and not _TAG.fullmatch(tag):
        raise HandleError(str(handle), f"{tag!r} is not a tag", _SHAPE)
    revision = handle.revision
    if is_digest(revision):  # as of all tools for registries, a tag next to a digest is for readers only
        return Reference(registry, repository, str(revision))
    if revision is not None and (tag or not _TAG.fullmatch(revision)):
        raise PresetNotFoundError(handle, f"{revision!r} is not a digest, or one of two tags", remedy=_SHAPE)
    return Reference(registry, repository, revision or tag or NEWEST)


def suggested(text: str) -> PresetHandle | None:
    """Returns the handle for a reference as other tools write it, such as `docker://ghcr.io/acme/bert:v1`, or None.

    Raises:
        HandleError: there cannot be such a handle.
    """
    scheme, _, rest = text.rpartition("://")
    rest = re.sub(r"^hub\.docker\.com/r/", "docker.io/", rest)
    host = rest.partition("/")[0]
    if not (scheme in ("docker", "oras") or (scheme in ("", "http", "https") and _KNOWN.fullmatch(host))):
        return None
    handle = PresetHandle.parse(f"oci://{rest.rstrip('/')}")
    reference_of(handle)
    return handle


def is_tag(value: object) -> bool:
    """Returns whether a value is a tag."""
    return isinstance(value, str) and _TAG.fullmatch(value) is not None


def is_digest(text: str | None) -> bool:
    """Returns whether a text is a digest of a manifest or blob."""
    return _DIGEST.fullmatch(text or "") is not None


def _is_plain(host: str) -> bool:
    """Returns whether a host and port are read without encryption: this machine's, and those of `OCI_PLAIN_HTTP`."""
    allowed = [name.strip() for name in os.environ.get(PLAIN_HTTP, "").split(",")]
    name = host.partition(":")[0]
    with contextlib.suppress(ValueError):
        return host in allowed or ipaddress.ip_address(name).is_loopback
    return host in allowed or name == "localhost"
