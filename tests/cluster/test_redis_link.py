"""What is particular to the link over Redis: connections that it takes over from redis-py."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.brokers import Broker
from support.polling import until

from cluster.test_broker_access import certificates
from cluster.test_real_links import Mesh, a_broker
from hisock._runtime.loops import fast_loop_module

pytestmark = pytest.mark.timeout(60)


class Way:
    """A way to a broker: what comes by it is passed on, both ways.

    :ivar clients: the connections that it has.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.clients: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer)
        there, to_broker = await asyncio.open_connection("127.0.0.1", self._broker.port)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass_on(reader, to_broker), self._pass_on(there, writer))

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def passed_on(
    broker: Broker, url: str, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Mesh, Way]]:
    """Two links that go through a way of their own."""
    way = Way(broker)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0, ssl=context)
    mesh = Mesh(url.format(port=server.sockets[0].getsockname()[1]))
    try:
        for _ in range(2):
            await mesh.add()
        yield mesh, way
    finally:
        for link in mesh.links:
            await link.close()
        server.close()


@pytest.mark.parametrize("fast", [False, True])
def test_batches_go_both_ways_over_tls(fast: bool, tmp_path: Path) -> None:
    cert, authority = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert)

    async def main(broker: Broker) -> None:
        url = f"rediss://127.0.0.1:{{port}}?ca={authority}"
        async with passed_on(broker, url, context) as (mesh, _):
            expected = []
            for number in range(50):
                size = mesh.links[0].most_bytes if number == 20 else 100
                expected.append(b"%d " % number + bytes(size - 10))
                assert mesh.links[0].send_all(expected[-1])
                assert mesh.links[1].send(mesh.nodes[0], b"%d" % number)
            await until(lambda: len(mesh.ears[1].batches()) >= 50)
            await until(lambda: len(mesh.ears[0].batches()) >= 50)
            assert mesh.ears[1].batches() == expected
            assert mesh.ears[0].batches() == [b"%d" % number for number in range(50)]

    module = fast_loop_module() if fast else asyncio
    if module is None:
        pytest.skip("there is no uvloop")
    loop = module.new_event_loop()
    with a_broker("redis", tmp_path) as broker, contextlib.closing(loop):
        loop.run_until_complete(main(broker))


@pytest.mark.parametrize("which", [0, 1])  # what publishes is connected first
@pytest.mark.parametrize(
    ("said", "reason"), [(b"@nonsense\r\n", "Protocol error"), (b"-ERR go away\r\n", "go away")]
)
def test_an_answer_that_is_none_or_an_error_ends_a_connection_and_another_is_made(
    said: bytes, reason: str, which: int, tmp_path: Path
) -> None:
    async def main(broker: Broker) -> None:
        async with passed_on(broker, "redis://127.0.0.1:{port}") as (mesh, way):
            ear = mesh.ears[0]
            way.clients[which].write(said)
            await until(lambda: ear.count("up") == 2)
            assert [reason in args[0] for what, *args in ear.told if what == "down"] == [True]
            assert mesh.links[1].send_all(b"news")
            await until(lambda: ear.batches() == [b"news"])

    with a_broker("redis", tmp_path) as broker:
        asyncio.run(main(broker))
