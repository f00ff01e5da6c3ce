"""Addresses as tuples and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Addr = tuple[str, int]


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
