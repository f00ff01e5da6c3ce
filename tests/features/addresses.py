"""Servers on any address, and the marks of machines that have not all of them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from support import Events
from support.events import PATIENCE

import hisock

from .clients import AnyClient, Kind


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")


def use(server: hisock.HiSockServer, kind: Kind, addr: Any, events: Events) -> hisock.ClientInfo:
    """Join, call, be sent to by every form of the address, ask for oneself, and leave."""
    with AnyClient(kind, addr, "Ada", "red") as client:
        client.start()
        ip, pair, name = client.call("who am I", None, list[Any])
        assert name == "Ada"
        info = server.get_client("Ada")
        assert (info.ip, list(info.addr)) == (ip, pair)
        for who in (info, info.ip, info.addr, "Ada"):
            assert server.get_client(who) == info
            server.send_client(who, "hello", "there")
            assert client.recv("hello", str) == "there"
        asked = client._do("get_client", "Ada", timeout=PATIENCE)
        assert (asked.name, asked.ip) == ("Ada", info.ip)
        assert client._do("get_client", info, timeout=PATIENCE) == asked
    events.wait_for("leave", info)
    assert len(server) == 0
    return info
