"""What is particular to the link over NATS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Broker
from support.polling import until

from cluster.test_real_links import Ear, Mesh, a_broker, run
from hisock._cluster.link import NodeHello
from hisock._cluster.links import make_link

pytestmark = pytest.mark.timeout(60)
#: Seconds that the proxy holds up whatever comes with and after a subscription.
HELD = 0.2


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slow: bool) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            start = data.find(b"SUB ") if slow else -1
            if start >= 0:
                writer.write(data[:start])
                await asyncio.sleep(HELD)
                data = data[start:]
            writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def slow_subscriptions(broker: Broker) -> AsyncIterator[str]:
    """A way to a broker that takes longer for subscriptions; their order with the rest is kept."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_broker = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(pass_on(reader, to_broker, True), pass_on(there, writer, False))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def test_a_ping_that_is_cancelled_ends_no_link(tmp_path: Path) -> None:
    """As those are that wait for an answer when the client ends a connection."""

    async def test(mesh: Mesh) -> None:
        link: Any = mesh.links[0]
        flush = link._client.flush
        cancelled: list[float] = []

        async def cancelled_once(timeout: float) -> None:
            if not cancelled:
                cancelled.append(timeout)
                raise asyncio.CancelledError
            await flush(timeout=timeout)

        link._client.flush = cancelled_once
        assert link.send_all(b"news")
        await until(lambda: cancelled and link._arrived == link._taken)

    with a_broker("nats-newest", tmp_path) as broker:
        run(broker.url, 2, test)


def test_a_link_that_is_up_hears_everything_from_then_on(tmp_path: Path) -> None:
    async def main(broker: Broker) -> None:
        async with slow_subscriptions(broker) as slow_url:
            ears, links = [Ear(), Ear()], [make_link(broker.url), make_link(slow_url)]
            try:
                for node, link, ear in zip("ab", links, ears, strict=True):
                    hello = NodeHello(node=node * 16, app="a", header_len=16, codec="json")
                    await link.start(hello, ear)
                    await until(lambda: ear.count("up"))  # noqa: B023 - awaited at once
                assert links[0].send("b" * 16, b"first")
                assert links[0].send_all(b"second")
                await until(lambda: ears[1].batches() == [b"first", b"second"])
            finally:
                for link in links:
                    await link.close()

    with a_broker("nats-newest", tmp_path) as broker:
        asyncio.run(main(broker))
