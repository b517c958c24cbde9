"""Redirects: which ones may be followed, and following them with one request at a time.

A redirect must lead to an HTTP URL, must not lead from an encrypted URL to an unencrypted one, and must not lead into
the user's own network. A source that requests files over HTTP follows redirects itself, by `follow_redirects`; a client
library would forward the user's token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from vertebra.errors import RedirectRefusedError, SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.http._addresses import Address, Kind, address_of, addresses, kind_of, normalized
from vertebra.http.error_mapping import unavailable
from vertebra.http.origins import origin, proxy_for, same_origin
from vertebra.http.responses import R

MOST_REDIRECTS = 10
_STATUSES = (301, 302, 303, 307, 308)
_ODD = re.compile(r"[^!-~]|\\")
_WEB, _ENCRYPTED = re.compile(r"https?:", re.IGNORECASE), re.compile(r"https:", re.IGNORECASE)


_ALLOWED = {Kind.OWN: (Kind.OWN,), Kind.LOOPBACK: (Kind.OWN, Kind.LOOPBACK)}
"""For a service inside the user's network, or on this machine: where else it may lead."""


class RedirectPolicy:
    """Checks the redirects of one request.

    Args:
        handle: The preset.
        endpoint: URL of the service. Redirects into the user's network are allowed only if the service is in it, and
            those to this machine only if the service is on it.
        start: URL of the request.
        setting: The setting by which users name another endpoint, for messages.
    """

    def __init__(self, handle: PresetHandle, endpoint: str, start: str, setting: str) -> None:
        self.handle, self.endpoint, self.setting = handle, endpoint, setting
        self._visited = {start}

    def resolve(self, url: str, location: str) -> str:
        """Returns the URL that a redirect leads to.

        Args:
            url: The URL that was requested.
            location: The `Location` header of the response.

        Raises:
            RedirectRefusedError: the redirect must not be followed.
            SourceUnavailableError: its host cannot be looked up, so it is not known where it leads.
        """
        try:
            target = urljoin(url, location)
            self._check(url, target, urlsplit(target).hostname)
        except (RedirectRefusedError, SourceUnavailableError):
            raise
        except (ValueError, OSError):  # such as a port that is no number, or a bracket without its pair
            raise self._refused("a text that is not a URL", "which cannot be followed") from None
        self._visited.add(target)
        return target

    def check_peer(self, url: str, peer: object) -> None:
        """Checks the address of the connection: DNS may have given it another address than `resolve` had checked.

        Args:
            url: The URL that was requested.
            peer: Host and port at the other end of the connection, or None if unknown.

        Raises:
            RedirectRefusedError: the response comes from inside the user's network.
        """
        if isinstance(peer, tuple) and peer and not same_origin(url, self.endpoint) and proxy_for(url) is None:
            self._check_addresses(url, [address_of(str(peer[0]))])

    def _check(self, url: str, target: str, host: str | None) -> None:
        if _ODD.search(target):  # libraries differ in how they read such a URL
            raise ValueError(target)
        if not _WEB.match(target) or not host:
            raise self._refused(f"{target.partition(':')[0]}:", "but only http and https URLs are followed")
        if _ENCRYPTED.match(url) and not _ENCRYPTED.match(target):
            raise self._refused(origin(target), "which is not encrypted")
        if target in self._visited:
            raise self._refused(origin(target), "which is a redirect loop")
        if len(self._visited) > MOST_REDIRECTS:
            raise self._refused(origin(target), f"the last of more than {MOST_REDIRECTS} redirects")
        if same_origin(target, self.endpoint):
            return
        has_proxy = proxy_for(target) is not None
        found = addresses(normalized(host), local_names=not has_proxy)
        if not found and not has_proxy:
            raise unavailable(self.handle, target, "the name of its host cannot be looked up")
        self._check_addresses(target, found)

    def _check_addresses(self, target: str, resolved: list[Address]) -> None:
        inside = [address for address in resolved if kind_of(address) is not Kind.PUBLIC]
        if not inside:
            return
        service = {kind_of(address) for address in addresses(urlsplit(self.endpoint).hostname or "")}
        allowed = {kind for own in service for kind in _ALLOWED.get(own, ())}
        if any(kind_of(address) not in allowed for address in inside):
            raise self._refused(origin(target), f"an address inside this network ({inside[0]})")

    def _refused(self, target: str, problem: str) -> RedirectRefusedError:
        return RedirectRefusedError(self.handle, target, problem, self.setting)


def follow_redirects(policy: RedirectPolicy, url: str, send: Callable[[str], R]) -> R:
    """Requests a URL and follows its redirects.

    Args:
        policy: Checks each redirect, and the peer of each connection.
        url: The first URL.
        send: Sends one request and follows no redirect. It must send credentials to the service's origin only.

    Returns:
        The response, with any status except those of redirects.

    Raises:
        RedirectRefusedError: a redirect must not be followed.
    """
    while True:
        response = send(url)
        try:
            policy.check_peer(url, response.peer)
            if response.status not in _STATUSES or "location" not in response.headers:
                return response
            url = policy.resolve(url, response.headers["location"])
        except BaseException:
            response.close()
            raise
        response.finish()
