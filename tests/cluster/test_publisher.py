"""Sending to the clients of a cluster without being a server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Broker
from support.events import PATIENCE
from support.polling import eventually
from support.process import Program, environment

import hisock
from cluster.test_real_links import Ear
from hisock._cluster.link import NodeHello
from hisock._cluster.links import make_link
from hisock._cluster.redis import RedisLink

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets"),
]
KEY = "a secret of the cluster"


class Game:
    """Two servers with a player each, Ada in the lobby and Bob in no group."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.url = url
        self.heard: dict[str, list[object]] = {"Ada": [], "Bob": []}
        self.clients = {}
        self.servers = []
        for name, group in (("Ada", "lobby"), ("Bob", None)):
            cluster = hisock.Cluster(url, app="chess", key=KEY)
            server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), cluster=cluster)
            self.servers.append(server)
            stack.callback(server.close)
            server.start()
            client = hisock.ThreadedHiSockClient(server.addr, name, group)
            stack.callback(client.close)
            client.on("news")(lambda message, name=name: self.heard[name].append(message))
            client.start()
            self.clients[name] = client
        eventually(lambda: all(len(server) == 2 for server in self.servers))

    def hear(self, ada: list[object], bob: list[object]) -> None:
        eventually(lambda: self.heard == {"Ada": ada, "Bob": bob})


@pytest.fixture(params=["local", "nats", "redis"])
def game(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Game]:
    with contextlib.ExitStack() as stack:
        if request.param == "local":
            # Paths of pytest are too long for Unix sockets on some systems.
            url = f"local:/tmp/hisock-{tmp_path.parent.name[-6:]}-{tmp_path.name[-12:]}"
        else:
            broker = Broker(request.param, tmp_path)
            stack.callback(broker.kill)
            url = broker.url
        yield Game(url, stack)


def test_what_is_published_reaches_the_clients_of_all_servers(game: Game) -> None:
    with hisock.Publisher(game.url, app="chess", key=KEY) as out:
        out.send_all_clients("news", "1")
        out.send_group("lobby", "news", "2")
        out.send_client("Bob", "news", "3")
        out.send_client("nobody", "news", "4")
        out.send_many(["Ada", game.clients["Bob"].sock.getsockname()], "news", "5")
        ada = out.get_client("Ada")
        out.send_client(ada, "news", "6", volatile=True)
        game.hear([b"1", b"2", b"5", b"6"], [b"1", b"3", b"5"])
        assert (ada.name, ada.group) == ("Ada", "lobby")
        assert ada.node in {server.cluster.me.node for server in game.servers}
        assert out.get_group("lobby") == [ada]
        assert out.count() == 2
        with pytest.raises(hisock.ClientNotFound):
            out.get_client("nobody")
        with pytest.raises(ValueError, match="too large"):
            out.send_all_clients("news", bytes(300_000))
        assert out.get_room("hall") == []
        game.servers[0].join_room("Ada", "hall")
        eventually(lambda: out.get_room("hall") == [ada])
        out.send_room("hall", "news", "8")
        eventually(lambda: game.heard["Ada"][-1] == b"8")
        assert repr(out).startswith("<Publisher to ")
        assert KEY not in repr(out)
        out.disconnect_client("Bob")
        eventually(lambda: game.clients["Bob"].closed)
    with pytest.raises(RuntimeError, match="closed"):
        out.count()

    async def main() -> None:
        async with hisock.AsyncPublisher(game.url, app="chess", key=KEY) as out:
            out.send_group("lobby", "news", "7")
            assert await out.count() == 1

    asyncio.run(main())
    eventually(lambda: game.heard["Ada"][-1] == b"7")


def test_whoever_does_not_know_the_key_is_not_heard(game: Game) -> None:
    for key in (None, "another secret of 16"):
        with hisock.Publisher(game.url, app="chess", key=key) as out:
            out.send_all_clients("news", "forged")
    with hisock.Publisher(game.url, app="chess", key=KEY) as out:
        out.send_all_clients("news", "true")
    game.hear([b"true"], [b"true"])


def test_the_command_publishes(game: Game) -> None:
    env = environment(
        PYTHONPATH=str(Path(hisock.__file__).parents[1]),
        HISOCK_CLUSTER=game.url,
        HISOCK_CLUSTER_KEY=KEY,
    )
    command = [sys.executable, "-m", "hisock", "publish", "--app", "chess"]
    with Program([*command, "--group", "lobby", "news", '{"x": 1}'], env) as program:
        program.finish(PATIENCE)
    game.hear([b'{"x":1}'], [])


def test_no_broker_and_no_server_are_said() -> None:
    url = "redis://me:s3cret@127.0.0.1:9"
    with pytest.raises(hisock.ServerNotRunning, match=r"at redis://127\.0\.0\.1:9$"):
        hisock.Publisher(url, timeout=0.3)
    env = environment(PYTHONPATH=str(Path(hisock.__file__).parents[1]))
    command = [sys.executable, "-m", "hisock", "publish", "--cluster", url, "--timeout", "0.3"]
    with Program([*command, "news"], env) as program:
        assert program.wait() == 1
        assert program.errors.splitlines()[-1] == (
            "hisock publish: no cluster can be reached at redis://127.0.0.1:9"
        )
        assert "s3cret" not in program.errors


def test_a_link_ends_though_a_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """In ``wait_for`` of Python 3.11, where what it waited for fails at the same moment."""

    async def fails_when_cancelled(self: RedisLink, channels: list[str]) -> None:
        try:
            await asyncio.sleep(4 * PATIENCE)
        except asyncio.CancelledError:
            raise OSError("refused") from None

    monkeypatch.setattr(RedisLink, "_serve", fails_when_cancelled)

    async def main() -> None:
        link = make_link("redis://127.0.0.1:9")
        hello = NodeHello(node="node", app="chess", header_len=16, codec="json")
        await link.start(hello, Ear())
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(link.close())
        _, late = await asyncio.wait([ending], timeout=PATIENCE)
        assert not late

    asyncio.run(main())


@pytest.mark.parametrize("iterations", range(6))
def test_a_program_that_ends_without_closing_ends_while_redis_refuses(
    monkeypatch: pytest.MonkeyPatch, iterations: int
) -> None:
    """Also in the moment in which it is told that it cannot connect."""
    asked, refusing = asyncio.Event(), asyncio.Event()

    async def connect(self: RedisLink, *_: object) -> None:
        asked.set()
        await refusing.wait()
        raise OSError("refused")

    monkeypatch.setattr(RedisLink, "_connect", connect)

    async def main() -> None:
        link = make_link("redis://127.0.0.1:9")
        hello = NodeHello(node="node", app="chess", header_len=16, codec="json")
        await link.start(hello, Ear())
        await asked.wait()
        refusing.set()
        for _ in range(iterations):
            await asyncio.sleep(0)

    program = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    program.start()
    program.join(PATIENCE)
    assert not program.is_alive()
