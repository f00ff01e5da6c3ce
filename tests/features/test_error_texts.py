"""Errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hisock

MakeServer = Callable[..., hisock.ThreadedHiSockServer]
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
