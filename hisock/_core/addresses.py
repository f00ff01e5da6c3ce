"""Addresses as tuples and as text."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

Addr = tuple[str, int]

#: Stand-ins for the host of a client that has none, or whose address is hidden; the port is then a
#: number given by the server.
UNIX: Final = "unix"
HIDDEN: Final = "hidden"
NUMBERED_HOSTS: Final = frozenset({UNIX, HIDDEN})
#: Characters of the longest text that can be an address: an IPv6 host with a scope, and a port.
_LONGEST: Final = 128
#: Hosts that are remembered with what was found out about them: parsing one is slow.
_REMEMBERED: Final = 1024


def format_addr(addr: Sequence[Any]) -> str:
    """``("127.0.0.1", 5000)`` as ``"127.0.0.1:5000"``; an IPv6 host is put in brackets.

    :raises ValueError: that is not a host and a port.
    """
    if len(addr) < 2:
        raise ValueError(f"{addr!r} is not an address; expected (host, port)")
    host, port = addr[0], addr[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def parse_addr(text: str) -> Addr:
    """``"127.0.0.1:5000"`` or ``"[::1]:5000"`` as a tuple.

    :raises ValueError: there is no host, or no port from 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address; expected 'host:port'")
    return host, int(port)


def client_addr(text: str) -> Addr | None:
    """Parse the address of a client; ``None`` for a text that can only be a name.

    An address is an IP address and a port, or ``unix:`` or ``hidden:`` and a number. Host names are
    not addresses of clients, so ``"player:1"`` is a name.
    """
    host, colon, port = text[: _LONGEST + 1].rpartition(":")
    if len(text) > _LONGEST or not colon or not (port.isascii() and port.isdigit()):
        return None
    if host in NUMBERED_HOSTS:
        return host, int(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return (host, int(port)) if int(port) <= 65535 else None


@lru_cache(_REMEMBERED)
def network_of(host: str) -> str:
    """The key of limits by address: an IPv4 host, or the /64 network of an IPv6 host."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


@lru_cache(_REMEMBERED)
def is_local(host: str) -> bool:
    """Whether a host is this machine: loopback, or a Unix socket."""
    if host in NUMBERED_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
