"""Errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from support.events import PATIENCE
from support.fixtures import MakeServer
from support.logs import logged

import hisock

from .clients import AnyClient, Kind
from .loops import LOOPBACK

NO_HOST = "no-such-host.invalid"


def test_a_port_in_use_is_named_and_so_is_its_holder(make_server: MakeServer) -> None:
    port = make_server().addr[1]
    with pytest.raises(OSError, match=f"127.0.0.1:{port} is in use already") as caught:
        hisock.HiSockServer(("127.0.0.1", port))
    assert "give another port" in str(caught.value)
    if sys.platform == "linux":
        assert f"by process {os.getpid()} (" in str(caught.value)


def test_a_host_that_does_not_resolve_is_named() -> None:
    with pytest.raises(TypeError, match=f"{NO_HOST}.*cannot be resolved.*0.0.0.0"):
        hisock.HiSockServer((NO_HOST, 0))
    with pytest.raises(socket.gaierror, match=f"{NO_HOST}.*check how it is spelt"):
        hisock.HiSockClient((NO_HOST, 5000))


@pytest.mark.parametrize("host", [NO_HOST, "a..b", "a" * 64 + ".example"])
def test_a_host_that_is_none_is_named_by_every_client_and_server(host: str) -> None:
    async def connect() -> None:
        await hisock.async_connect((host, 5000))

    told = f"the host '{host}' cannot be resolved .*check how it is spelt"
    with pytest.raises(TypeError, match=told):
        hisock.HiSockServer((host, 0))
    with pytest.raises(socket.gaierror, match=told):
        hisock.connect((host, 5000))
    with pytest.raises(socket.gaierror, match=told):
        asyncio.run(connect())


@pytest.mark.parametrize("wrong", ["cert.pem", ("cert.pem",), 5])
def test_a_certificate_without_its_key(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"\(certificate, key\)"):
        hisock.HiSockServer(("127.0.0.1", 0), ssl=wrong)


def test_a_file_of_tls_that_is_missing_is_named(make_server: MakeServer, tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.write_bytes(b"")
    missing = tmp_path / "missing.pem"
    for files in ((missing, there), (there, missing)):
        with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
            hisock.HiSockServer(("127.0.0.1", 0), ssl=files)
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        hisock.HiSockClient(make_server().addr, ssl=missing)
    with pytest.raises(TypeError, match="ssl is True"):
        hisock.HiSockClient(make_server().addr, ssl=5)  # type: ignore[arg-type]


def test_a_name_that_is_no_text(make_server: MakeServer) -> None:
    wrong: Any
    for wrong in (1.5, ["ann"], b"ann"):
        with pytest.raises(TypeError, match="a name or a group is text"):
            hisock.HiSockClient(make_server().addr, name=wrong)


def test_start_in_a_loop_that_runs() -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0))
        with server, pytest.raises(RuntimeError, match=r"await serve\(\)"):
            server.start()

    asyncio.run(main())


def test_what_is_asked_of_a_closed_client(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    client = hisock.connect(server.addr)
    client.close()
    for use in (lambda: client.send("x"), lambda: client.recv("x", timeout=1)):
        with pytest.raises(hisock.ClientDisconnected, match="make a new one"):
            use()


@pytest.mark.parametrize("wrong", [5, "5", (5,), (0, 5), ("a", "b")])
def test_a_rate_that_is_none(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"rate_limit is \(times a second, burst\)"):
        hisock.HiSockServer(("127.0.0.1", 0), rate_limit=wrong)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:5000", "tcp://127.0.0.1:5000/"])
def test_a_url_is_no_address(url: str) -> None:
    for use in (hisock.HiSockClient, hisock.HiSockServer):
        with pytest.raises(TypeError, match=r"is a URL; write \(host, port\)"):
            use(url)


def test_a_token_that_is_no_text(make_server: MakeServer) -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="a token is text, not int"):
        hisock.HiSockClient(make_server().addr, token=wrong)


def test_an_async_connect_that_is_not_awaited() -> None:
    connecting: Any = hisock.async_connect(("127.0.0.1", 1))
    said = "async_connect\\(\\) was not awaited"
    with pytest.raises(TypeError, match=said):
        connecting.send("move")
    with pytest.raises(TypeError, match=said):
        connecting.send("move", {"x": 1})
    with pytest.raises(AttributeError, match=said):
        connecting.on("moved")
    connecting.close()


def test_a_coroutine_that_is_sent(make_server: MakeServer) -> None:
    async def price() -> int:
        return 5

    coroutine = price()
    said = pytest.raises(hisock.InvalidTypeCast, match=r"price\(\): it was not awaited")
    with hisock.connect(make_server().addr) as client, said:
        client.send("x", coroutine)
    coroutine.close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (list[int], "list[int]"),
        (Annotated[str, msgspec.Meta(max_length=3)], "str"),
        (Literal["on"], "Literal['on']"),
        (int | None, "int | None"),
        (Path, "Path"),
    ],
)
def test_a_type_is_shown_as_it_is_written(kind: Any, said: str) -> None:
    assert f"is not {said}: why" in str(hisock.InvalidTypeCast("x", kind, "why"))


@pytest.mark.parametrize(
    ("option", "wrong", "said"),
    [
        ("max_connections", "5", "max_connections is a number, not '5'"),
        ("keepalive_interval", None, "keepalive_interval is a number, not None"),
        ("restart_after", "1", "restart_after is a number, not '1'"),
        ("header_len", "16", "header_len is a number, not '16'"),
        ("latest_ahead", -1, "latest_ahead is 0 or more, not -1"),
        ("cache_size", "1", "cache_size is a number, not '1'"),
        ("workers", "2", "workers is a number, not '2'"),
        ("error_handler", 5, "error_handler is a function, not 5"),
        ("session", {}, "session is a class, or a function that makes one"),
        ("admin_token", 5, "admin_token is text, not int"),
        ("loop", "trio", "loop is 'auto', 'asyncio' or 'uvloop', not 'trio'"),
    ],
)
def test_an_option_of_a_server_that_cannot_be(option: str, wrong: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        hisock.HiSockServer(None, **{option: wrong})


@pytest.mark.parametrize(
    ("option", "wrong", "said"),
    [
        ("reconnect", 5, "reconnect is True or a hisock.Reconnect, not 5"),
        ("timeout", "5", "timeout is a number, not '5'"),
        ("offline_buffer", "1", "offline_buffer is a number, not '1'"),
        ("cache_size", "1", "cache_size is a number, not '1'"),
    ],
)
def test_an_option_of_a_client_that_cannot_be(option: str, wrong: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        hisock.HiSockClient(("127.0.0.1", 1), **{option: wrong})
    with pytest.raises(TypeError, match="initial is a number"):
        hisock.Reconnect(initial="1")  # type: ignore[arg-type]  # the mistake


def test_a_with_in_place_of_an_async_with() -> None:
    connecting: Any = hisock.async_connect(("127.0.0.1", 1))
    with pytest.raises(TypeError, match="or: async with hisock"), connecting:
        pass
    connecting.close()


def test_a_server_that_was_never_started_is_named_as_the_reason(kind: Kind) -> None:
    """It listens from the moment it is made, so that connecting to it is no error."""
    with hisock.HiSockServer(LOOPBACK) as server, AnyClient(kind, server.addr) as client:
        client.start()
        said = "has said nothing at all: was it started"
        with pytest.raises(TimeoutError, match=f"'add' was not answered within .*; .*{said}"):
            client.call("add", timeout=0.05)
        if kind != "async":
            with pytest.raises(TimeoutError, match=said):
                client.recv("sum", timeout=0.05)


def test_the_length_of_headers_is_suspected_where_a_hello_is_none() -> None:
    with (
        logged("hisock.server") as said,
        hisock.ThreadedHiSockServer(LOOPBACK, header_len=8) as server,
    ):
        server.start()
        with hisock.connect(server.addr) as client, pytest.raises(hisock.ConnectionLost):
            client.call("anything", timeout=PATIENCE)
        said.wait_for_text("do both ends have the same header_len?")
