"""Hosts of redirects: the addresses that they mean, and which of these are public, or in the user's own network.

Only addresses outside all special-purpose networks are public. The lists are those of IANA's registries (IPv4 and IPv6
special-purpose addresses, multicast, and the allocations of IPv6 unicast addresses) as of 2024: Python's own list
differs between its versions.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from enum import Enum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Kind(Enum):
    """Where an address leads."""

    PUBLIC = "public"
    OWN = "own"
    """The network of a company or home."""
    LOOPBACK = "loopback"
    """This machine."""
    SPECIAL = "special"
    """Nowhere, to many hosts, to a neighbour, or to the service that gives a machine in a cloud its credentials."""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_OWN = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
METADATA = _networks(
    "169.254.0.0/16",  # link-local addresses, on which most clouds have it
    "fe80::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fd00:ec2::/32",
    "fd20:ce::/32",
)
"""Addresses of the services of clouds that give a machine its credentials, some within other networks."""
_SPECIAL = _networks(
    "0.0.0.0/8",  # this network
    "192.0.0.0/24",  # IETF protocol assignments
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # AMT
    "192.88.99.0/24",  # relays of 6to4
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "2001::/23",  # IETF protocol assignments: Teredo, benchmarks, ORCHID, drones
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",  # documentation
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All other IPv6 addresses are special, such as multicast, site-local ones, and most forms with an IPv4 address."""
_CONTAINING = _networks("::ffff:0:0/96", "64:ff9b::/96")
"""IPv6 addresses that mean the IPv4 address at their end: mapped ones, and NAT64 in networks of IPv6 (RFC 6052)."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""Bits 32 to 63 of IPv6 addresses that lead through a tunnel to the IPv4 address at their end (RFC 5214)."""
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def kind_of(address: Address) -> Kind:
    """Returns where an address leads."""
    if isinstance(address, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if _is_in(address, _CONTAINING):
            return kind_of(last)
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP and kind_of(last) is not Kind.PUBLIC:
            return Kind.SPECIAL
    if _is_in(address, METADATA):
        return Kind.SPECIAL
    if _is_in(address, _LOOPBACK):
        return Kind.LOOPBACK
    if _is_in(address, _OWN):
        return Kind.OWN
    if _is_in(address, _SPECIAL) or (address.version == 6 and address not in _GLOBAL_UNICAST):
        return Kind.SPECIAL
    return Kind.PUBLIC


def normalized(host: str) -> str:
    """Returns the host of a URL as clients read it: in lower case, without the dot at the end of a complete name.

    Raises:
        ValueError: clients read the host in several ways, such as one with percent signs or an IPv6 zone.
    """
    host = host.lower().removesuffix(".")
    if ":" in host and "%" not in host:
        return str(ipaddress.IPv6Address(host))
    if not _HOST.fullmatch(host):
        raise ValueError(host)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # an IPv4 address, of which some clients read more forms
        return socket.inet_ntoa(socket.inet_aton(host))  # OSError if it is none
    return host


def addresses(host: str, local_names: bool = True) -> list[Address]:
    """Returns the IP addresses of a host; none if it has none, or if its name was not looked up.

    Args:
        host: A normalized name or address.
        local_names: Whether names are looked up; False where a proxy looks them up.
    """
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, whatever the name service says
        return [ipaddress.IPv4Address("127.0.0.1")]
    flags = 0 if local_names else socket.AI_NUMERICHOST
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [address_of(str(socket_address[0])) for *_, socket_address in entries]


def address_of(text: str) -> Address:
    """Returns the address that a system call gave as a text, without the zone of a link-local one."""
    return ipaddress.ip_address(text.partition("%")[0])


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
