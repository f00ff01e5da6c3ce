"""What is particular to the link over Redis: connections that it takes over from redis-py."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.brokers import Broker
from support.passing import Way
from support.polling import until

from cluster.test_broker_access import certificates, server_context
from cluster.test_real_links import Mesh, a_broker
from hisock._cluster import redis_wire
from hisock._runtime.loops import fast_loop_module

pytestmark = pytest.mark.timeout(60)

#: Begins an answer of two thousand million bytes.
CLAIM = b"$2000000000\r\n"


@contextlib.asynccontextmanager
async def passed_on(
    broker: Broker, url: str, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Mesh, Way]]:
    """Two links that go through a way of their own."""
    async with Way(broker.port).open(context) as way:
        mesh = Mesh(url.format(port=way.port))
        try:
            for _ in range(2):
                await mesh.add()
            yield mesh, way
        finally:
            for link in mesh.links:
                await link.close()


@pytest.mark.parametrize("fast", [False, True])
def test_batches_go_both_ways_over_tls(fast: bool, tmp_path: Path) -> None:
    cert, authority = certificates(tmp_path)
    context = server_context(cert)

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


@pytest.mark.parametrize(
    ("said", "reason", "which"),  # what publishes is connected first
    [
        (b"@nonsense\r\n", "Protocol error", 0),
        (b"@nonsense\r\n", "Protocol error", 1),
        (b"-ERR go away\r\n", "go away", 0),
        (b"-ERR go away\r\n", "go away", 1),
        (b"+nothing that was asked for\r\n", "an answer was not understood", 1),
        (CLAIM + bytes(300_000), "an answer is longer than", 0),
        (CLAIM + bytes(300_000), "an answer is longer than", 1),
        (b"*5000\r\n" + b"$100\r\n%100d\r\n" % 1 * 3000, "an answer is longer than", 1),
        (CLAIM, "the rest of an answer did not come", 1),
        (b"*5000\r\n", "the rest of an answer did not come", 1),
    ],
    ids=lambda given: ascii(given[:15]) if isinstance(given, bytes) else None,
)
def test_an_answer_that_is_none_or_an_error_ends_a_connection_and_another_is_made(
    said: bytes, reason: str, which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_wire, "_REST_SECONDS", 0.5)

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
