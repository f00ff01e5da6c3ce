"""What a link guarantees, over Unix sockets and over real brokers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Broker
from support.polling import until

from hisock._cluster.link import LinkDown, NodeHello, NodeLink
from hisock._cluster.links import make_link
from hisock._runtime.loops import fast_loop_module

BROKERS = ["nats", "nats-newest", "redis", "valkey"]
pytestmark = pytest.mark.timeout(60)


class Ear:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, what: str) -> Any:
        if what not in ("up", "down", "appeared", "gone", "received", "writable"):
            raise AttributeError(what)
        return lambda *args: self.told.append((what, *args))

    def batches(self) -> list[bytes]:
        return [args[0] for what, *args in self.told if what == "received"]

    def count(self, *start: Any) -> int:
        return sum(one[: len(start)] == start for one in self.told)


class Mesh:
    """Some links that know each other."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Another run of a test on the same broker is another application.
        self.app = secrets.token_hex(4)
        self.links: list[NodeLink] = []
        self.ears: list[Ear] = []
        self.nodes: list[str] = []

    async def add(self) -> NodeLink:
        link, ear, node = make_link(self.url), Ear(), secrets.token_hex(8)
        hello = NodeHello(node=node, app=self.app, header_len=16, codec="json")
        await link.start(hello, ear)
        await until(lambda: ear.count("up"))
        if not link.broadcasts:
            for other, there in zip(self.nodes, self.ears, strict=True):
                await until(lambda other=other: ear.count("appeared", other))  # type: ignore[misc] # of mypy, about the default
                await until(lambda there=there: there.count("appeared", node))  # type: ignore[misc] # likewise
        self.links.append(link)
        self.ears.append(ear)
        self.nodes.append(node)
        return link


@contextlib.contextmanager
def a_broker(kind: str, folder: Path) -> Iterator[Broker]:
    broker = Broker(kind, folder)
    try:
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Broker]]:
    """The brokers that no test ends, each started when it is first asked for."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Broker] = {}

        def give(kind: str) -> Broker:
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind)
                running[kind] = stack.enter_context(a_broker(kind, folder))
            return running[kind]

        yield give


@pytest.fixture(params=["local", *BROKERS])
def url(request: pytest.FixtureRequest, brokers: Callable[[str], Broker]) -> Iterator[str]:
    if request.param != "local":
        yield brokers(request.param).url
        return
    folder = Path("/tmp", f"hisock-test-{secrets.token_hex(4)}")
    try:
        yield f"local:{folder}"
    finally:
        for path in folder.glob("*"):
            path.unlink()
        folder.rmdir()


def run(
    url: str,
    count: int,
    test: Callable[[Mesh], Awaitable[None]],
    loop: asyncio.AbstractEventLoop | None = None,
) -> None:
    async def main() -> None:
        mesh = Mesh(url)
        try:
            for _ in range(count):
                await mesh.add()
            await test(mesh)
        finally:
            for link in mesh.links:
                await link.close()

    if loop is None:
        asyncio.run(main())
        return
    with contextlib.closing(loop):
        loop.run_until_complete(main())


def test_batches_arrive_once_in_order_and_not_at_their_sender(url: str) -> None:
    async def test(mesh: Mesh) -> None:
        a, b = mesh.links[:2]
        there, third = mesh.ears[1:]
        expected, expected_third = [], []
        for number in range(300):
            # The largest batch too, and an iteration of the loop between some.
            size = a.most_bytes if number == 77 else number
            expected.append(b"%d " % number + bytes(size)[:-10])
            assert a.send(mesh.nodes[1], expected[-1])
            if a.broadcasts:
                expected_third.append(b"all %d" % number)
                expected.append(expected_third[-1])
                assert a.send_all(expected[-1])
            if number % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(there.batches()) >= len(expected))
        assert b.send(mesh.nodes[2], b"from b")
        await until(lambda: len(third.batches()) > len(expected_third))
        assert there.batches() == expected
        assert [one for one in third.batches() if one != b"from b"] == expected_third
        assert mesh.ears[0].batches() == []

    run(url, 3, test)


def test_a_node_that_ended_is_found_out_and_one_that_runs_is_not(url: str) -> None:
    async def test(mesh: Mesh) -> None:
        a, b = mesh.links
        ear, (_, other) = mesh.ears[0], mesh.nodes
        a.probe(other)
        assert a.send(other, b"still there")
        await until(lambda: mesh.ears[1].batches() == [b"still there"])
        assert not ear.count("gone")
        await b.close([b"goodbye"])
        mesh.links.remove(b)
        await until(lambda: ear.batches() == [b"goodbye"])
        while a.probes and not ear.count("gone", other):
            a.probe(other)  # the broker may not have noticed the first time
            await asyncio.sleep(0.02)
        await until(lambda: ear.count("gone", other))

    run(url, 2, test)


def test_only_one_of_many_gets_a_name_and_only_its_holder_gives_it_up(url: str) -> None:
    async def test(mesh: Mesh) -> None:
        holders = [f"{node}:1" for node in mesh.nodes]
        stores = [link.claims for link in mesh.links]
        names = ["Ada", "", "x" * 1024, "space .*> \u20ac \ud800", *map(str, range(20))]
        for name in names:
            won = await asyncio.gather(
                *(one.claim(name, mine) for one, mine in zip(stores, holders, strict=True))
            )
            assert len(set(won)) == 1
            holder = won[0]
            other = next(one for one in holders if one != holder)
            await stores[0].release(name, other)
            assert await stores[1].claim(name, other) == holder
            assert not await stores[0].move(name, other, other)
            assert await stores[0].move(name, holder, other)
            assert not await stores[2].move(name, holder, holder)
            await stores[0].release(name, other)
            assert await stores[2].claim(name, holder) == holder
            assert await stores[2].claim(name, holder) == holder

    run(url, 3, test)


def test_a_node_of_another_application_is_not_heard(url: str) -> None:
    async def test(mesh: Mesh) -> None:
        a, b = mesh.links
        stranger, ear = make_link(mesh.url), Ear()
        hello = NodeHello(node="f" * 16, app="another", header_len=16, codec="json")
        await stranger.start(hello, ear)
        await until(lambda: ear.count("up"))
        try:
            if stranger.broadcasts:
                assert stranger.send_all(b"strange")
                assert a.send_all(b"friendly")
            else:
                assert not stranger.send(mesh.nodes[0], b"strange")
                assert a.send(mesh.nodes[1], b"friendly")
            await stranger.claims.claim("Ada", "f" * 16)
            await until(lambda: mesh.ears[1].batches())
            assert b.send(mesh.nodes[0], b"back")
            await until(lambda: mesh.ears[0].batches())
            assert mesh.ears[0].batches() == [b"back"]
            assert not ear.batches()
            if a.broadcasts:
                assert await a.claims.claim("Ada", "a") == "a"
        finally:
            await stranger.close()

    run(url, 2, test)


async def chatter(link: NodeLink, sent: list[float]) -> None:
    """Send numbers and the time, as fast as a game would, and note when each was taken."""
    for number in itertools.count():
        now = time.monotonic()
        if link.send_all(b"%d %f" % (number, now)):
            sent.append(number)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", BROKERS)
def test_a_broker_that_is_killed_and_started_again_delivers_nothing_late_or_twice(
    kind: str, tmp_path: Path
) -> None:
    with a_broker(kind, tmp_path) as broker:

        async def test(mesh: Mesh) -> None:
            a, ear, there = mesh.links[0], *mesh.ears
            ages: list[float] = []

            def received(batch: bytes) -> None:
                there.told.append(("received", batch))
                ages.append(time.monotonic() - float(batch.split()[1]))

            there.__dict__["received"] = received
            sent: list[float] = []
            talking = asyncio.ensure_future(chatter(a, sent))
            await until(lambda: len(sent) > 50)
            await a.claims.claim("Ada", "a:1")
            broker.kill()
            await until(lambda: ear.count("down"))
            assert not a.send_all(b"late 0")
            with pytest.raises(LinkDown):
                await a.claims.claim("Bob", "a:1")
            silent = len(there.batches())
            await asyncio.to_thread(broker.start)
            await until(lambda: ear.count("up") == 2)
            await until(lambda: there.count("up") == 2)
            await until(lambda: len(there.batches()) > silent + 50)
            talking.cancel()
            numbers = [int(one.split()[0]) for one in there.batches()]
            assert numbers == sorted(set(numbers)), "twice, or out of order"
            assert set(numbers) <= set(sent)
            assert max(ages) < 0.3 + slack(ages)
            assert await a.claims.claim("Ada", "a:2") == "a:2", "the memory is that of a new broker"

        def slack(ages: list[float]) -> float:
            # What a loaded machine delays everything by.
            return 3 * sorted(ages)[len(ages) * 9 // 10]

        run(broker.url, 2, test)


@pytest.mark.parametrize("kind", ["nats-newest", "redis"])
def test_a_broker_that_stops_is_given_nothing_more(kind: str, tmp_path: Path) -> None:
    with a_broker(kind, tmp_path) as broker:

        async def test(mesh: Mesh) -> None:
            a, ear = mesh.links[0], mesh.ears[0]
            sent: list[float] = []
            talking = asyncio.ensure_future(chatter(a, sent))
            await until(lambda: len(sent) > 20)
            broker.freeze()
            await until(lambda: not a.send_all(b"0 0"))
            broker.thaw()
            await until(lambda: ear.count("writable", None) or ear.count("up") > 1)
            assert a.send_all(b"9 9")
            talking.cancel()

        run(broker.url, 2, test)


@pytest.mark.skipif(fast_loop_module() is None, reason="there is no uvloop")
@pytest.mark.parametrize("kind", ["nats-newest", "redis"])
def test_a_write_to_a_connection_that_is_just_gone_ends_no_link(
    kind: str, brokers: Callable[[str], Broker]
) -> None:
    async def test(mesh: Mesh) -> None:
        link: Any = mesh.links[0]
        if kind == "redis":
            transport = link._outlet._transport
        else:
            # The client writes by itself once its own task has met the closed connection.
            link._client._flusher_task.cancel()
            await asyncio.sleep(0.01)
            transport = link._client._transport._io_writer.transport
        transport.abort()
        link.send_all(b"lost")
        await until(lambda: mesh.ears[0].count("up") == 2)
        link.send_all(b"arrives")
        await until(lambda: mesh.ears[1].batches() == [b"arrives"])

    fast = fast_loop_module()
    assert fast is not None
    run(brokers(kind).url, 2, test, fast.new_event_loop())
