"""Clients that hang up while the program decides about them."""

from __future__ import annotations

import asyncio
import gc

import pytest
from support import command_frame, frame
from support.events import PATIENCE
from support.memory import MemoryPeer
from support.polling import until

import hisock

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def masked(payload: bytes) -> bytes:
    """A short message of a WebSocket, masked with zeros."""
    return bytes([0x82, 0x80 | len(payload)]) + bytes(4) + payload


@pytest.mark.parametrize("over", ["tcp", "websocket"])
@pytest.mark.parametrize("ending", ["closes", "says goodbye", "is reset", "has asked"])
def test_nothing_is_decided_about_a_client_that_has_left(over: str, ending: str) -> None:
    """It went on until ``auth_timeout``, and kept a place of a server that is full."""
    seen: list[str] = []

    async def play() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()
        async with hisock.HiSockServer(
            ("127.0.0.1", 0), max_connections=1, auth_timeout=600, websocket=hisock.WebSocket()
        ) as server:

            @server.authenticate
            async def authenticate(name: str | None) -> None:
                if name == "Ann":
                    asked.set()
                    try:
                        await go_on.wait()
                    except asyncio.CancelledError:
                        seen.append("cancelled")
                        raise

            @server.on("join")
            def join(client: hisock.ClientInfo) -> None:
                seen.append(f"{client.name} joined")

            @server.on("say")
            def say(client: hisock.ClientInfo) -> None:
                seen.append(f"{client.name} said")

            reader, writer = await asyncio.open_connection(*server.addr)
            frames = [frame(b'$CLTHELLO${"name": "Ann"}')]
            if ending == "has asked":
                frames.append(command_frame("say"))
            if ending in ("has asked", "says goodbye"):
                frames.append(frame(b"$USRCLOSE$"))
            if over == "websocket":
                writer.write(UPGRADE)
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                frames = [masked(each) for each in frames]
            writer.write(b"".join(frames))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            if ending == "is reset":
                writer.transport.abort()
            writer.close()
            if ending == "has asked":
                await until(lambda: any(each._eof or each.lost for each in server._hub.connections))
                go_on.set()
            await until(lambda: not server.stats().connections)
            assert server.stats().ended == {"left": 1}
            if ending == "has asked":
                assert seen == ["Ann joined", "Ann said"]
            else:
                await until(lambda: seen == ["cancelled"])
            assert not server.stats().buffered_bytes
            async with hisock.async_connect(server.addr, "Bob"):
                await until(lambda: seen[-1] == "Bob joined")

    asyncio.run(asyncio.wait_for(play(), 4 * PATIENCE))


def test_a_decision_whose_client_has_left_before_it_begins_leaves_nothing(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def play() -> None:
        async with hisock.HiSockServer(("127.0.0.1", 0)) as server:

            @server.authenticate
            async def authenticate(name: str | None) -> None:
                raise AssertionError("it has left")

            peer = MemoryPeer(server, None)
            connection = peer.connection
            connection.feed(frame(b'$CLTHELLO${"name": "Ann"}'))
            assert connection.busy
            connection.eof_received()
            await until(lambda: not connection.busy)
            await until(lambda: not server.stats().connections)

    asyncio.run(play())
    gc.collect()
    assert not [str(one.message) for one in recwarn if "never awaited" in str(one.message)]
