"""A client that has ended is freed at once, without the garbage collector; so is a connection that
it has lost.

Handlers are registered by functions: a frame that registers one keeps its variables (until 3.13).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.events import PATIENCE
from support.polling import eventually, until

import hisock
from hisock._runtime.loops import new_loop
from reliability.certificates import Authority
from reliability.watching import LOOPBACK, LOOPS

SOON = hisock.Reconnect(initial=0.01, maximum=0.1)
ENDS = ["is closed", "is lost", "is kicked", "comes back", "is lost in recv", "is lost in call"]
EVERY_END = pytest.mark.parametrize("end", ENDS)


@pytest.fixture(autouse=True, scope="module")
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["TCP", "TLS"])
def authority_if(request: pytest.FixtureRequest, authority: Authority) -> Authority | None:
    return authority if request.param == "TLS" else None


@pytest.fixture
def server(
    closing: contextlib.ExitStack, authority_if: Authority | None
) -> hisock.ThreadedHiSockServer:
    files = None if authority_if is None else (authority_if.server, authority_if.server)
    made = hisock.ThreadedHiSockServer(LOOPBACK, ssl=files)
    closing.callback(made.close)

    @made.on("double")
    def double(client: hisock.ClientInfo, number: int) -> int:
        return 2 * number

    @made.on("lose me")
    def lose_me(client: hisock.ClientInfo) -> None:
        cut(made)

    made.start()
    return made


def cut(server: hisock.ThreadedHiSockServer) -> None:
    """End all connections without a goodbye; on the loop's thread."""
    for connection in list(server._hub.connections):
        connection.discard().abort()


def options(server: Any, authority: Authority | None, end: str) -> dict[str, Any]:
    return {
        "addr": ("localhost", server.addr[1]),
        "name": "Ada",
        "ssl": authority and authority.context(),
        "reconnect": SOON if end == "comes back" else None,
    }


class Parts:
    """What a client is made of, so that it can be seen when it is freed."""

    def __init__(self, client: Any) -> None:
        self.session = weakref.ref(client._driver.session)
        self._all = [self.session, weakref.ref(client._driver), weakref.ref(client)]
        transport = getattr(client._driver.session, "transport", None)
        # A transport of asyncio's selector loops keeps itself, and one of uvloop's TLS is hidden.
        if "SSLProtocol" in type(transport).__name__ and "uvloop" not in type(transport).__module__:
            self._all.append(weakref.ref(transport))

    @property
    def freed(self) -> bool:
        return not [part for part in map(_call, self._all) if part is not None]


def _call(found: weakref.ref[Any]) -> Any:
    return found()


def register(client: Any, back: Callable[[], object]) -> None:
    client.on("seen")(lambda message: None)
    client.on("seen in a thread", threaded=True)(lambda message: None)
    if client._driver.reconnects:
        client.on("reconnect")(back)


async def halve(number: int) -> int:
    return number // 2


@EVERY_END
@pytest.mark.parametrize("loop", LOOPS)
def test_an_async_one(
    server: hisock.ThreadedHiSockServer, authority_if: Authority | None, loop: Any, end: str
) -> None:
    async def fail(client: hisock.AsyncHiSockClient, receives: bool) -> None:
        with contextlib.suppress(hisock.ConnectionLost):
            if receives:
                client.send("lose me")
                await client.recv("never", timeout=PATIENCE)
            else:
                await client.call("lose me", timeout=PATIENCE)

    async def live(client: hisock.AsyncHiSockClient, parts: Parts) -> None:
        back = asyncio.Event()
        register(client, back.set)
        client.on("halve", concurrent=True)(halve)
        assert await client.call("double", 2, int, timeout=PATIENCE) == 4
        assert await asyncio.to_thread(server.call_blocking, "Ada", "halve", 4, int) == 2
        with contextlib.suppress(TimeoutError):
            await client.recv("never", timeout=0.001)
        if end in ("is lost", "comes back"):
            client.send("lose me")
        elif end == "is kicked":
            server.disconnect_client("Ada")
        elif end != "is closed":
            await fail(client, end.endswith("recv"))
        if end == "comes back":
            await asyncio.wait_for(back.wait(), PATIENCE)
            await until(lambda: parts.session() is None)
        if end in ("is closed", "comes back"):
            await client.close()
        await client.wait_closed()

    async def main() -> None:
        client = await hisock.async_connect(**options(server, authority_if, end))
        parts = Parts(client)
        await live(client, parts)
        del client
        await until(lambda: parts.freed)

    made = new_loop(loop)
    try:
        made.run_until_complete(asyncio.wait_for(main(), 2 * PATIENCE))
    finally:
        made.close()


@EVERY_END
@pytest.mark.parametrize("kind", [hisock.connect, hisock.threaded_connect])
def test_a_blocking_one(
    server: hisock.ThreadedHiSockServer,
    authority_if: Authority | None,
    kind: Callable[..., hisock.HiSockClient],
    end: str,
) -> None:
    def read_until(client: hisock.HiSockClient, so: Callable[[], object]) -> None:
        def look() -> object:
            if not isinstance(client, hisock.ThreadedHiSockClient):
                with contextlib.suppress(hisock.ConnectionLost):
                    client.update()
            return so()

        eventually(look)

    def fail(client: hisock.HiSockClient, receives: bool) -> None:
        with contextlib.suppress(hisock.ConnectionLost):
            if receives:
                client.send("lose me")
                client.recv("never", timeout=PATIENCE)
            else:
                client.call("lose me", timeout=PATIENCE)

    def live(client: hisock.HiSockClient, parts: Parts) -> None:
        back = threading.Event()
        register(client, back.set)
        if isinstance(client, hisock.ThreadedHiSockClient):
            client.start()
        assert client.call("double", 2, int, timeout=PATIENCE) == 4
        with contextlib.suppress(TimeoutError):
            client.recv("never", timeout=0.001)
        if end in ("is lost", "comes back"):
            client.send("lose me")
        elif end == "is kicked":
            server.disconnect_client("Ada")
        elif end != "is closed":
            fail(client, end.endswith("recv"))
        if end == "comes back":
            read_until(client, back.is_set)
            read_until(client, lambda: parts.session() is None)
        if end in ("is closed", "comes back"):
            client.close()
        read_until(client, lambda: client.closed)
        if isinstance(client, hisock.ThreadedHiSockClient):
            with contextlib.suppress(hisock.ConnectionLost):
                client.join()

    client = kind(**options(server, authority_if, end))
    parts = Parts(client)
    live(client, parts)
    del client
    eventually(lambda: parts.freed)
