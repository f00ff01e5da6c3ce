"""A connection that has ended is freed at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support.events import PATIENCE
from support.polling import until
from support.wire import command_frame, frame

import hisock
from hisock._runtime.loops import LoopName, new_loop
from reliability.certificates import Authority
from reliability.watching import LOOPS

ADDR = ("127.0.0.1", 0)
HELLO = frame(b'$CLTHELLO${"name": null, "group": null}')

#: What clients do before they end.
DEEDS = {
    "a hello": HELLO,
    "commands": HELLO + command_frame("echo", "x") * 3,
    "many commands": HELLO + command_frame("echo", "x") * 3000,
    "a change of name": HELLO + frame(b"$CHNAME$Ann"),
    "an async handler": HELLO + command_frame("later", "x") * 2,
    "tasks": HELLO + command_frame("task", "x") * 20,
    "threads": HELLO + command_frame("thread", "x") * 3,
    "half of a frame": HELLO + command_frame("echo", "x" * 5000)[:-1000],
    "nothing": b"",
    "what is no hello": frame(b"$CMD$echo"),
    "what is no frame": HELLO + b"x" * 16,
}


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _server(**options: Any) -> tuple[hisock.HiSockServer, list[weakref.ref[Any]]]:
    server = hisock.HiSockServer(ADDR, **options)
    refs: list[weakref.ref[Any]] = []
    attach = server._hub.connected

    def connected(connection: Any) -> None:
        refs.append(weakref.ref(connection))
        attach(connection)

    server._hub.connected = connected  # type: ignore[method-assign] # notes what there was

    @server.on("echo")
    def echo(client: hisock.ClientInfo, message: str) -> None:
        with contextlib.suppress(hisock.ClientNotFound):  # what is logged keeps its traceback
            server.send_client(client, "echo", message)

    @server.on("later")
    async def later(client: hisock.ClientInfo, message: str) -> None:
        await asyncio.sleep(0)

    @server.on("task", concurrent=True)
    async def task(client: hisock.ClientInfo, message: str) -> None:
        await asyncio.sleep(0.01)

    @server.on("thread", threaded=True)
    def thread(client: hisock.ClientInfo, message: str) -> None:
        with contextlib.suppress(hisock.ClientNotFound):
            server.send_client(client, "echo", message)

    return server, refs


def _run(
    server: hisock.HiSockServer,
    refs: list[weakref.ref[Any]],
    deed: bytes,
    end: str,
    loop: LoopName = "asyncio",
    tls: ssl.SSLContext | None = None,
) -> None:
    async def main() -> None:
        async with server:
            reader, writer = await asyncio.open_connection(*server.addr, ssl=tls)
            writer.write(deed)
            await until(lambda: refs)
            if deed:
                await until(lambda: (it := refs[0]()) is None or it.joined or it.ended)
            if end == "is reset":
                writer.transport.abort()
            elif end == "is kicked":
                server.disconnect_all_clients()
            elif end == "is kicked by force":
                server.disconnect_all_clients(force=True)
            else:
                writer.close()
            # A connection that the server ends is kept until the client has closed its side.
            reading = asyncio.ensure_future(reader.read())
            await asyncio.wait([reading], timeout=PATIENCE)
            writer.close()
            await until(lambda: not server._hub.connections)
            await until(lambda: refs[0]() is None)

    made = new_loop(loop)
    try:
        made.run_until_complete(asyncio.wait_for(main(), 2 * PATIENCE))
    finally:
        made.close()


@pytest.mark.parametrize("deed", DEEDS)
def test_one_that_leaves(deed: str) -> None:
    _run(*_server(), DEEDS[deed], "leaves")


@pytest.mark.parametrize("end", ["is reset", "is kicked", "is kicked by force"])
def test_one_that_ends_in_another_way(end: str) -> None:
    _run(*_server(), DEEDS["tasks"], end)


@pytest.mark.skipif(sys.platform == "win32", reason="has no uvloop")
@pytest.mark.parametrize("end", ["leaves", "is kicked"])
def test_one_on_uvloop(end: str) -> None:
    _run(*_server(), DEEDS["tasks"], end, "uvloop")


@pytest.mark.parametrize("end", ["leaves", "is kicked", "is reset"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.usefixtures("tls_by")
def test_one_over_tls(authority: Authority, loop: LoopName, end: str) -> None:
    """Its buffers are hundreds of KiB on asyncio."""
    server = _server(ssl=(authority.server, authority.server))
    _run(*server, DEEDS["tasks"], end, loop, authority.context())


@pytest.mark.parametrize("end", ["closes", "is kicked by force"])
def test_one_of_which_tasks_still_run(end: str) -> None:
    """There may be thousands of tasks, and each kept the connection that its message came by."""
    server, refs = _server(announce="none")

    async def main() -> None:
        go_on = asyncio.Event()
        ended = 0

        @server.on("stay", concurrent=True)
        async def stay(client: hisock.ClientInfo) -> None:
            nonlocal ended
            await go_on.wait()
            assert client.name == "Ann"
            ended += 1

        async with server:
            _, writer = await asyncio.open_connection(*server.addr)
            writer.write(frame(b'$CLTHELLO${"name": "Ann"}') + command_frame("stay") * 20)
            await until(lambda: server.stats().messages_in == 21)
            if end == "closes":
                writer.close()
            else:
                server.disconnect_all_clients(force=True)
            await until(lambda: not server._hub.connections)
            await until(lambda: refs[0]() is None)
            assert server.stats().memory["concurrent"] > 20 * 3072
            go_on.set()
            await until(lambda: ended == 20)
            await until(lambda: not server.stats().buffered_bytes)
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 2 * PATIENCE))
