"""Where the answers of a service may lead: what is no web address, unencrypted, or inside the user's own network, not.

A source that asks for files over HTTP follows redirects itself, each by `Hops.next`; whatever else a client would do
with them, such as sending the user's token along, is then its own decision.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from urllib.parse import urljoin, urlsplit

from vertebra.errors import RedirectRefusedError
from vertebra.handles import PresetHandle

MOST_HOPS = 10
_ODD = re.compile(r"[^!-~]|\\")
_WEB, _ENCRYPTED = re.compile(r"https?:", re.IGNORECASE), re.compile(r"https:", re.IGNORECASE)
_QUERY = re.compile(r"(https?://[^\s?\"'>]*|\"[A-Z]+ /[^\s?\"'>]*)\?[^\s\"'>]*")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""What stands for addresses of IPv4 where a network has IPv6 alone (RFC 6052)."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Hops:
    """The way that one request takes.

    Args:
        handle: The preset.
        endpoint: Address of the service. What is not public may be led to only if the service itself is not.
        start: Address of the request.
        setting: What the user sets to name another endpoint.
    """

    def __init__(self, handle: PresetHandle, endpoint: str, start: str, setting: str) -> None:
        self.handle, self.endpoint, self.setting = handle, endpoint, setting
        self._been = {start}

    def next(self, here: str, location: str) -> str:
        """Returns the address that a redirect leads to.

        Raises:
            RedirectRefusedError: it must not be followed.
        """
        try:
            target = urljoin(here, location)
            self._check(here, target, urlsplit(target).hostname)
        except ValueError:  # a port that is none, brackets that do not close
            raise self._refused("what is no address", "and cannot be followed") from None
        self._been.add(target)
        return target

    def check_peer(self, url: str, peer: object) -> None:
        """Compares who answered with what was allowed: a name may have meant something else when it was looked up.

        Args:
            url: What was asked for.
            peer: Host and port of who answered, or None if that is not known.

        Raises:
            RedirectRefusedError: the answer comes from inside the user's network.
        """
        if isinstance(peer, tuple) and peer and not same_origin(url, self.endpoint) and not by_proxy(url):
            self._check_addresses(url, [_address(str(peer[0]))])

    def _check(self, here: str, target: str, host: str | None) -> None:
        if _ODD.search(target):  # what one library reads in another way than the next
            raise ValueError(target)
        if not _WEB.match(target) or not host:
            raise self._refused(f"{target.partition(':')[0]}:", "and only http and https are followed")
        if _ENCRYPTED.match(here) and not _ENCRYPTED.match(target):
            raise self._refused(origin(target), "which is not encrypted")
        if target in self._been:
            raise self._refused(origin(target), "in a circle")
        if len(self._been) > MOST_HOPS:
            raise self._refused(origin(target), f"the last of more than {MOST_HOPS} redirects")
        if not same_origin(target, self.endpoint):
            self._check_addresses(target, addresses(host, local_names=not by_proxy(target)))

    def _check_addresses(self, target: str, found: list[Address]) -> None:
        inside = [address for address in found if not address.is_global]
        if not inside:
            return
        own = addresses(urlsplit(self.endpoint).hostname or "")
        if any(address.is_link_local for address in inside) or not any(not address.is_global for address in own):
            raise self._refused(origin(target), f"an address inside this network ({inside[0]})")

    def _refused(self, target: str, problem: str) -> RedirectRefusedError:
        return RedirectRefusedError(self.handle, target, problem, self.setting)


def origin(url: str) -> str:
    """Returns what may be shown of an address: not its query, which may be signed, and no credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def same_origin(one: str, other: str) -> bool:
    """Says whether two addresses have the scheme, host and port in common."""
    return _place(one) == _place(other)


def by_proxy(url: str) -> bool:
    """Says whether a proxy connects to an address, so that names mean what they mean to the proxy."""
    from urllib.request import getproxies, proxy_bypass  # which brings all of HTTP with it

    parts = urlsplit(url)
    proxies = getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.hostname or "")


def without_queries(text: str) -> str:
    """Returns a text in which addresses have no queries: those of signed ones are as good as a password."""
    return _QUERY.sub(r"\1", text)


def hide_queries(*logs: str) -> None:
    """Takes the queries out of addresses that a library logs.

    Args:
        logs: Names of its loggers.
    """
    for name in logs:
        logging.getLogger(name).addFilter(_without_queries)  # once: the same filter is not added again


class _WithoutQueries(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_queries(record.getMessage()), ()
        return True


_without_queries = _WithoutQueries()


def addresses(host: str, local_names: bool = True) -> list[Address]:
    """Returns the addresses of a host; none if it has none, which whoever connects will report."""
    flags = 0 if local_names else socket.AI_NUMERICHOST
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [_address(str(place[0])) for *_, place in found]


def _address(text: str) -> Address:
    """Returns the address that a packet ends at: several kinds of IPv6 addresses stand for one of IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _place(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if _ENCRYPTED.match(url) else 80)
