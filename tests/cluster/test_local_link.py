"""The link between the processes of one machine: the directory, its hub, slow and bad peers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from support.polling import until

import hisock
from cluster.test_real_links import Ear, Mesh, run
from hisock._cluster import local as local_link
from hisock._cluster import local_hub, local_line
from hisock._cluster.link import LinkDown, NodeHello
from hisock._cluster.links import make_link
from hisock._cluster.local import LocalLink

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of pytest are too long for Unix sockets on some systems.
    path = Path("/tmp", f"hisock-test-{secrets.token_hex(4)}")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def local(mesh: Mesh, number: int) -> LocalLink:
    link = mesh.links[number]
    assert isinstance(link, LocalLink)
    return link


def on(folder: Path, count: int) -> Callable[[Callable[[Mesh], Awaitable[None]]], None]:
    return lambda test: run(f"local:{folder}", count, test)


def test_a_node_that_does_not_read_delays_nobody_and_takes_bounded_memory(folder: Path) -> None:
    @on(folder, 3)
    async def test(mesh: Mesh) -> None:
        a, slow = mesh.links[0], mesh.nodes[1]
        line = local(mesh, 1)._lines[mesh.nodes[0]]
        line._transport.pause_reading()
        batch = bytes(200_000)
        taken = 0
        while a.send(slow, batch):
            taken += 1
            if taken % 10 == 0:
                await asyncio.sleep(0)
        assert a.limit - len(batch) < a.backlog(slow) <= a.limit
        assert a.send(mesh.nodes[2], b"not behind it")
        await until(lambda: mesh.ears[2].batches() == [b"not behind it"])
        line._transport.resume_reading()
        await until(lambda: mesh.ears[0].count("writable", slow))
        await until(lambda: len(mesh.ears[1].batches()) == taken)
        assert a.send(slow, b"goes on")
        await until(lambda: mesh.ears[1].batches()[-1] == b"goes on")


def test_names_outlive_the_node_that_decides_on_them(folder: Path) -> None:
    @on(folder, 3)
    async def test(mesh: Mesh) -> None:
        first, second, third = (link.claims for link in mesh.links)
        mine = [f"{node}:1" for node in mesh.nodes]
        assert await first.claim("Ada", mine[0]) == mine[0]
        assert await second.claim("Bob", mine[1]) == mine[1]
        assert local(mesh, 0)._hub is not None
        await mesh.links.pop(0).close()
        await until(lambda: mesh.ears[1].count("gone", mesh.nodes[0]))
        while True:
            try:
                assert await third.claim("Bob", mine[2]) == mine[1]
                break
            except LinkDown:
                await asyncio.sleep(0.005)  # nobody has taken over yet
        # The names of a node that has ended are free.
        assert await third.claim("Ada", mine[2]) == mine[2]
        assert mesh.links[0].send(mesh.nodes[2], b"as before")
        await until(lambda: mesh.ears[2].batches() == [b"as before"])


def test_a_node_tells_a_new_hub_more_names_than_fit_into_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing depends on how long their lines take, for the three nodes share this loop.
    monkeypatch.setattr(local_hub, "GATHERING_SECONDS", 30.0)

    @on(folder, 3)
    async def test(mesh: Mesh) -> None:
        mine = [f"{node}:1" for node in mesh.nodes]
        names = [f"player {number}" for number in range(40_000)]
        local(mesh, 1)._claims.held.update(dict.fromkeys(names, mine[1]))
        (folder / "hub.sock").unlink()  # as some versions of asyncio do when a server is closed
        await mesh.links.pop(0).close()
        await until(lambda: mesh.ears[1].count("gone", mesh.nodes[0]))
        claims = mesh.links[1].claims  # of the third node
        for name in (names[-1], names[0]):
            while True:
                with contextlib.suppress(LinkDown):
                    assert await claims.claim(name, mine[2]) == mine[1]
                    break
                await asyncio.sleep(0.005)  # nobody has taken over yet


def test_a_new_node_meets_the_others_once_the_hub_that_they_joined_has_closed(folder: Path) -> None:
    """The hub that closed took the sockets of the nodes that lived on with it."""

    @on(folder, 2)
    async def test(mesh: Mesh) -> None:
        assert local(mesh, 0)._hub is not None
        await mesh.links.pop(0).close()
        del mesh.ears[0], mesh.nodes[0]
        await until(lambda: local(mesh, 0)._hub is not None)
        third = await mesh.add()  # returns once it knows the other one
        assert third.send(mesh.nodes[0], b"welcome")
        await until(lambda: mesh.ears[0].batches() == [b"welcome"])


def test_a_node_that_was_silent_while_a_hub_took_over_hears_that_its_names_are_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_hub, "GATHERING_SECONDS", 0.05)

    @on(folder, 3)
    async def test(mesh: Mesh) -> None:
        mine = [f"{node}:1" for node in mesh.nodes]
        second = local(mesh, 1)._claims
        assert await second.claim("Ada", mine[1]) == mine[1]
        before, told = second.control, second.tell_held
        monkeypatch.setattr(second, "tell_held", lambda control: None)
        await mesh.links.pop(0).close()
        await until(lambda: second.control not in (None, before))
        claims = mesh.links[1].claims  # of the third node
        await until(lambda: local(mesh, 1)._claims.control is not None)
        assert await claims.claim("Ada", mine[2]) == mine[2]
        ups = mesh.ears[1].count("up")
        assert second.control is not None
        told(second.control)
        await until(lambda: mesh.ears[1].count("up") == ups + 1)


def test_names_wait_for_a_hub_that_waits_for_a_silent_node(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_hub, "GATHERING_SECONDS", 0.6)
    monkeypatch.setattr(local_link, "_ANSWER_SECONDS", 0.3)

    @on(folder, 3)
    async def test(mesh: Mesh) -> None:
        holder = f"{mesh.nodes[2]}:1"
        silent, third = local(mesh, 1)._claims, local(mesh, 2)._claims
        before = silent.control, third.control
        monkeypatch.setattr(silent, "tell_held", lambda control: None)
        await mesh.links.pop(0).close()
        await until(lambda: third.control not in (None, *before))
        assert await third.claim("Ada", holder) == holder


def test_a_node_that_ends_while_a_hub_gathers_names_gets_none(folder: Path) -> None:
    @on(folder, 3)
    async def test(mesh: Mesh) -> None:
        mine = [f"{node}:1" for node in mesh.nodes]
        second, third = local(mesh, 1), local(mesh, 2)
        before = second._claims.control, third._claims.control
        await mesh.links.pop(0).close()
        await until(lambda: second._claims.control not in (None, *before))
        claim = asyncio.ensure_future(second.claims.claim("Ada", mine[1]))
        await asyncio.sleep(0)  # the question is written
        control = second._claims.control
        assert control is not None
        control.close()
        with pytest.raises(LinkDown):
            await claim
        second._claims.held.clear()
        await until(lambda: third._claims.control not in (None, *before))
        assert await third.claims.claim("Ada", mine[2]) == mine[2]


def test_what_is_no_node_is_cut_off_and_the_others_go_on(folder: Path) -> None:
    @on(folder, 2)
    async def test(mesh: Mesh) -> None:
        where = str(folder / f"{mesh.nodes[0]}.sock")
        nobody = b'{"node":"nobody","app":"%s"}' % mesh.app.encode()
        greetings = [b"[]", b"{", b"[" * 100_000, nobody]
        framed = [len(each).to_bytes(4, "big") + each for each in greetings]
        for said in (b"\xff\xff\xff\xff", *framed):
            reader, writer = await asyncio.open_unix_connection(where)
            writer.write(said)
            await asyncio.wait_for(reader.read(), 15)
            writer.close()
        assert [link.refused for link in mesh.links] == [1 + len(greetings), 0]
        assert mesh.links[1].send(mesh.nodes[0], b"still")
        await until(lambda: mesh.ears[0].batches() == [b"still"])


def test_what_is_no_node_is_cut_off_by_the_hub_and_names_are_freed_as_before(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A name whose holder was a number kept the names of nodes that ended from being freed."""
    lies = [
        b"{",
        b"5",
        b"[" * 100_000,
        b'{"id":1}',
        b'{"kind":"claim","id":1}',
        b'{"kind":"names","names":{"Bob":5}}',
    ]

    @on(folder, 2)
    async def test(mesh: Mesh) -> None:
        mine = [f"{node}:1" for node in mesh.nodes]
        assert await mesh.links[1].claims.claim("Ada", mine[1]) == mine[1]
        for said in lies:
            reader, writer = await asyncio.open_unix_connection(str(folder / "hub.sock"))
            writer.write(said + b"\n")
            await asyncio.wait_for(reader.read(), 15)
            writer.close()
        assert [link.refused for link in mesh.links] == [len(lies), 0], "the first has the hub"
        await mesh.links.pop().close()
        await until(lambda: mesh.ears[0].count("gone", mesh.nodes[1]))
        first = mesh.links[0].claims
        for _ in range(1000):  # the hub hears of it by another connection
            if await first.claim("Ada", mine[0]) == mine[0]:
                break
            await asyncio.sleep(0.005)
        else:
            raise AssertionError("the name is not freed")

    lines = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert [record.levelname for record in lines] == ["WARNING"] * len(lies)


def test_what_connects_and_does_not_say_which_node_it_is_is_cut_off_in_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @on(folder, 2)
    async def test(mesh: Mesh) -> None:
        monkeypatch.setattr(local_line, "GREETING_SECONDS", 0.05)  # not of the two nodes
        for name in ("hub", mesh.nodes[0]):
            reader, writer = await asyncio.open_unix_connection(str(folder / f"{name}.sock"))
            writer.write(b"\0\0")  # a part of a length
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 15)
            writer.close()
        assert [link.refused for link in mesh.links] == [2, 0]
        assert mesh.links[1].send(mesh.nodes[0], b"nodes stay")
        await until(lambda: mesh.ears[0].batches() == [b"nodes stay"])
        assert await mesh.links[1].claims.claim("Ada", "x:1") == "x:1"


def test_a_directory_that_others_may_enter_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)

    async def main() -> None:
        hello = NodeHello(node="a" * 16, app="a", header_len=16, codec="json")
        with pytest.raises(ValueError, match="chmod 700"):
            await make_link(f"local:{folder}").start(hello, Ear())

    asyncio.run(main())
    for url, said in (("local:game", "full path"), ("local:/" + "x" * 100, "too long")):
        with pytest.raises(ValueError, match=said):
            make_link(url)


def test_a_server_whose_cluster_cannot_start_says_why_and_frees_its_port(folder: Path) -> None:
    folder.mkdir(mode=0o755)

    async def start() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), cluster=f"local:{folder}")
        with pytest.raises(ValueError, match=str(folder)):
            async with server:
                pass
        hisock.HiSockServer(server.addr).close()

    asyncio.run(start())
