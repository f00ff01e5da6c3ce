"""Where servers listen and clients connect to: IPv6, names, Unix sockets, sockets that exist."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from support import Events, Peer, free_port

import hisock
from hisock.utils import ipstr_to_tup, iptup_to_str

from .addresses import has_ipv6, ipv6, unix, use
from .clients import AnyClient, Kind
from .loops import LOOPBACK, on_loops, within

# IPv6 and names


@ipv6
def test_ipv6_loopback(serve: Any, kind: Kind, events: Events) -> None:
    server = serve(("::1", 0))
    assert server.addr[0] == "::1"
    assert server.addr[1] > 0
    info = use(server, kind, server.addr, events)
    assert info.addr[0] == "::1"
    assert info.ip == f"[::1]:{info.addr[1]}"
    assert str(server.addr[1]) in repr(server)


@ipv6
def test_text_and_pair_of_an_ipv6_address_are_each_others() -> None:
    assert iptup_to_str(("::1", 5000)) == "[::1]:5000"
    assert ipstr_to_tup("[::1]:5000") == ("::1", 5000)
    info = hisock.ClientInfo("[fe80::1]:5000", "Ada")
    assert info.addr == ("fe80::1", 5000)
    assert info == hisock.ClientInfo(("fe80::1", 5000), "Ada")
    assert info.ip == "[fe80::1]:5000"


@ipv6
def test_an_ipv6_server_does_not_take_ipv4_by_accident_nor_the_port_of_another(
    serve: Any, kind: Kind, events: Events
) -> None:
    both = serve([("127.0.0.1", 0), ("::1", 0)])
    assert [addr[0] for addr in both.addrs] == ["127.0.0.1", "::1"]
    for addr in both.addrs:
        use(both, kind, addr, events)


def test_a_host_name(serve: Any, kind: Kind, events: Events) -> None:
    server = serve(("localhost", 0))
    use(server, kind, ("localhost", server.addr[1]), events)
    use(server, kind, server.addr, events)


def test_every_address_of_the_machine(serve: Any, kind: Kind, events: Events) -> None:
    for host in ("0.0.0.0", ""):
        server = serve((host, 0))
        use(server, kind, ("127.0.0.1", server.addr[1]), events)


def test_a_name_that_does_not_exist_is_an_error_at_once(kind: Kind) -> None:
    with pytest.raises((OSError, TypeError)):
        hisock.HiSockServer(("no-such-host.invalid", 0))
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        AnyClient(kind, ("no-such-host.invalid", 5000))


# Sockets that exist


def test_a_socket_that_is_bound_already(serve: Any, kind: Kind, events: Events) -> None:
    bound = socket.socket()
    bound.bind(LOOPBACK)
    server = serve(bound)
    assert server.addr == bound.getsockname()
    use(server, kind, server.addr, events)


def test_a_socket_that_listens_already_and_has_clients_waiting(serve: Any, events: Events) -> None:
    """As a service manager hands it over."""
    listening = socket.create_server(LOOPBACK)
    with Peer(listening.getsockname()) as early:
        early.hello("early")
        server = serve(listening)
        events.wait_for("join")
        assert server.get_client("early").addr == early.addr


@unix
def test_a_bound_unix_socket(serve: Any, kind: Kind, events: Events, path: Path) -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    use(serve(bound), kind, path, events)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_small_messages_are_not_held_back(serve: Any, events: Events, host: str) -> None:
    """Without this option an answer may wait 40 ms for an acknowledgement."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.bind((host, 0))
    for addr in ((host, 0), bound, [(host, 0)]):
        for loop in ("asyncio", "auto"):
            if addr is bound and loop == "auto":
                continue  # a server has closed it
            server = serve(addr, loop=loop)
            with hisock.connect(server.addr, "Ada") as ada:
                ada.call("who am I")
                (connection,) = server._registry
                sock = connection._transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Several


@unix
def test_several_addresses_are_one_server(
    serve: Any, kind: Kind, events: Events, path: Path
) -> None:
    bound = socket.socket()
    bound.bind(LOOPBACK)
    server = serve([LOOPBACK, path, bound])
    assert len(server.addrs) == 3
    assert server.addr == server.addrs[0]
    assert server.addrs[1] == str(path)
    with AnyClient(kind, server.addrs[0], "first") as first:
        first.start()
        first.call("who am I")
        for addr in server.addrs[1:]:
            with AnyClient(kind, addr, "second") as second:
                second.start()
                second.call("who am I")
                assert server.send_all_clients("news", "x") == 2
                assert [c.recv("news", str) for c in (first, second)] == ["x", "x"]
    for addr in server.addrs:
        use_after = AnyClient(kind, addr, "third")
        use_after.close()
    server.close()
    for addr in server.addrs:
        with pytest.raises(hisock.ServerNotRunning):
            AnyClient(kind, addr)


def test_one_address_of_several_in_use_frees_the_others(serve: Any) -> None:
    taken = serve(LOOPBACK)
    port = free_port()
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        hisock.HiSockServer([("127.0.0.1", port), taken.addr])
    hisock.HiSockServer(("127.0.0.1", port)).close()


@on_loops
async def test_any_address_in_a_loop_of_ones_own() -> None:
    addresses: list[Any] = [LOOPBACK]
    if has_ipv6():
        addresses.append(("::1", 0))
    async with hisock.HiSockServer(addresses) as server:
        server.on("x")(lambda client: "here")
        for addr in server.addrs:
            async with await hisock.async_connect(addr) as client:
                assert await within(client.call("x", None, str)) == "here"


# What is no address


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "127.0.0.1:5000",
        "localhost:5000",
        "[::1]:5000",
        ("127.0.0.1",),
        ("127.0.0.1", "5000"),
        ("127.0.0.1", 5000.0),
        ("127.0.0.1", 70000),
        5000,
        [None],
        b"path",
    ],
)
def test_what_is_no_address_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        hisock.HiSockServer(wrong)


@pytest.mark.parametrize("wrong", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000"])
def test_text_that_looks_like_host_and_port_is_no_path_for_clients(wrong: str, kind: Kind) -> None:
    with pytest.raises(TypeError, match="5000"):
        AnyClient(kind, wrong)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are counted in /proc or /dev")
def test_addresses_that_fail_leave_no_descriptor_open(serve: Any, path: Path) -> None:
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    taken = serve(LOOPBACK)
    before = len(os.listdir(folder))
    for _ in range(20):
        for addr in (taken.addr, [LOOPBACK, taken.addr], [path, taken.addr]):
            with pytest.raises(OSError):  # noqa: PT011
                hisock.HiSockServer(addr)
        with pytest.raises(hisock.ServerNotRunning):
            hisock.connect(path.with_name("nobody.sock"))
    assert len(os.listdir(folder)) == before
    assert not path.exists()


@unix
def test_a_server_whose_queue_is_full_keeps_its_path(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(10):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            if waiting.connect_ex(str(path)):
                break
        else:
            pytest.skip("this system's queues are longer")
        inode = path.stat().st_ino
        with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
            hisock.HiSockServer(path)
        assert path.stat().st_ino == inode


@unix
def test_a_socket_of_another_type_keeps_its_path(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(OSError):  # noqa: PT011
            hisock.HiSockServer(path)
        assert path.is_socket()


# -- a server that learns its address later


def test_a_server_without_an_address_listens_where_start_says(make_client: Any) -> None:
    server = hisock.ThreadedHiSockServer(None)
    assert (server.addr, server.addrs) == (None, [])
    assert "nowhere" in repr(server)
    server.on("ping")(lambda: "pong")
    server.start(("127.0.0.1", 0))
    with server:
        client = make_client(server)
        client.start()
        assert server.addr[1] > 0
        assert client.call("ping", type=str) == "pong"


def test_a_server_without_an_address_cannot_start_without_one() -> None:
    with hisock.HiSockServer(None) as server, pytest.raises(RuntimeError, match="listens nowhere"):
        server.start()


def test_a_server_that_listens_is_given_no_other_address() -> None:
    with (
        hisock.HiSockServer(("127.0.0.1", 0)) as server,
        pytest.raises(RuntimeError, match="listens at"),
    ):
        server.start(("127.0.0.1", 0))


async def serve_nowhere() -> None:
    server = hisock.HiSockServer(None)
    async with server:
        assert not server.closed


def test_a_server_on_a_loop_may_listen_nowhere() -> None:
    asyncio.run(serve_nowhere())
