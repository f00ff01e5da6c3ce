"""A server behind a web framework: FastAPI on a real uvicorn, one port for site and game."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import fastapi
import pytest
import uvicorn
from support import Events, frame
from support.events import PATIENCE
from support.polling import eventually, until

import hisock
import hisock.asgi

from .test_javascript import Play, node, play, serve_talk
from .web_peer import BINARY, CLOSE, TEXT, WebPeer, message

__all__ = ["node", "play"]  # fixtures

ENGINES = ["websockets", "websockets-sansio"]


class Site:
    """A site with a game at ``/``, run by uvicorn in a thread.

    :ivar game: the server.
    :ivar addr: where uvicorn listens.
    """

    def __init__(self, engine: str, **options: Any) -> None:
        self.game = hisock.HiSockServer(None, **options)
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.addr = self._sock.getsockname()
        config = uvicorn.Config(self._make_app(), ws=engine, log_level="warning")
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([self._sock],))

    def _make_app(self) -> Any:
        play = hisock.asgi.endpoint(self.game)

        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            async with self.game:
                yield

        async def ws(websocket: fastapi.WebSocket) -> None:
            await play(websocket.scope, websocket.receive, websocket.send)

        async def players() -> list[str]:
            return self.game.get_all_clients("name")

        app = fastapi.FastAPI(lifespan=lifespan)
        app.add_api_websocket_route("/", ws)
        app.add_api_route("/players", players)
        return app

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._sock.close()

    def stop(self) -> None:
        self._uvicorn.should_exit = True

    def get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.addr[1]}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)


@pytest.fixture(params=ENGINES)
def site(request: pytest.FixtureRequest) -> Site:
    """A site that is not started yet."""
    return Site(request.param, send_buffer=262144)


def test_the_site_and_the_game_share_a_port(site: Site) -> None:
    site.game.on("upper")(lambda client, text: text.upper())

    @site.game.on("say")
    def say(client: hisock.ClientInfo, text: str) -> None:
        site.game.send_all_clients("said", text * 100_000)

    with site, WebPeer.in_web(site.addr, "Ada") as ada, WebPeer.in_web(site.addr, "Bob") as bob:
        assert site.get("/players") == ["Ada", "Bob"]
        ada.send("say", "ab")
        for peer in (ada, bob):
            assert peer.wait_for("said").message == b"ab" * 100_000
            assert max(peer.messages) <= 65536
        ada.say(message(b"", CLOSE))
        ada.wait_closed()
        ada.close()  # what a client does then; uvicorn waits for it, for ten seconds
        bob.wait_for(lambda got: got.reserved == "CLTDISCONN")
        assert site.get("/players") == ["Bob"]
        assert site.game.stats().ended == {"eof": 1}


@pytest.mark.node
@pytest.mark.once
def test_the_javascript_client_talks_through_it(site: Site, events: Events, play: Play) -> None:
    serve_talk(site.game, events)
    with site, play("talk", site.addr) as program:
        lines = program.finish(60)
    assert lines[-3:] == ["big 1000000", "said bye", "closed disconnected closed"]
    assert events.seen == [("request", "Ada", "red", "t")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec_WebSocket_Protocol": "chat"}, 400),
    ],
)
def test_what_may_not_join_is_refused(site: Site, headers: dict[str, str], status: int) -> None:
    with site:
        with WebPeer(site.addr) as peer:
            assert peer.open(**headers).status == status
        origin = f"http://127.0.0.1:{site.addr[1]}"
        with WebPeer(site.addr) as peer:
            answer = peer.open(Origin=origin, host=f"127.0.0.1:{site.addr[1]}")
            assert answer.status == 101
            assert answer.headers["sec-websocket-protocol"] == "hisock.v3"
        assert site.game.stats().ended["http"] == 1


@pytest.mark.parametrize(
    ("opcode", "payload", "code"),
    [(TEXT, b"hello", 1003), (BINARY, b"x" * 65537, 1009), (BINARY, b"no frame at all!", 1002)],
    ids=["text", "too long", "no frame"],
)
def test_bad_input_ends_only_its_client(site: Site, opcode: int, payload: bytes, code: int) -> None:
    with site, WebPeer.in_web(site.addr, "Ada") as ada:
        with WebPeer.in_web(site.addr) as peer:
            peer.say(message(payload, opcode))
            assert peer.wait_closed()[0] == code
        ada.wait_for(lambda got: got.reserved == "CLTDISCONN")
        assert site.get("/players") == ["Ada"]


def test_who_is_rejected_or_kicked_is_told_by_the_close_code(site: Site) -> None:
    @site.game.authenticate
    def authenticate(request: hisock.JoinRequest) -> None:
        assert request.http is not None
        if request.http.query.get("key") != "1":
            raise hisock.Reject("no key")

    site.game.on("quit")(site.game.disconnect_client)
    with site:
        with WebPeer(site.addr) as peer:
            peer.open("/")
            peer.hello("Eve")
            assert peer.wait_closed() == (4003, "no key")
        with WebPeer(site.addr) as peer:
            peer.open("/?key=1")
            peer.hello("Ada")
            peer.send("quit")
            assert peer.wait_closed()[0] == 1000
        eventually(lambda: site.game.stats().connections == 0)
    assert site.game.stats().ended == {"rejected": 1, "kicked": 1}


def test_a_client_that_does_not_read_is_ended_and_holds_nothing(site: Site) -> None:
    @site.game.every(0.01)
    def flood() -> None:
        site.game.send_all_clients("flood", b"x" * 65536)

    with site, WebPeer.in_web(site.addr):
        eventually(lambda: site.game.stats().ended == {"slow": 1})
        eventually(lambda: site.game.stats().connections == 0)
        assert site.game.stats().queued_bytes == 0


def test_who_says_no_hello_is_ended(events: Events) -> None:
    with Site("websockets", hello_timeout=0.3) as site, WebPeer(site.addr) as peer:
        assert peer.open().status == 101
        assert peer.wait_closed()[0] == 1008


def test_the_end_of_the_site_ends_its_clients_and_the_server(site: Site) -> None:
    with site, WebPeer.in_web(site.addr) as peer:
        site.stop()
        assert peer.wait_closed()[0] in (1001, 1012)
    assert site.game.closed
    assert site.game.stats().clients == 0


def test_a_client_whose_request_is_cancelled_while_it_ends_is_not_left_behind() -> None:
    async def play() -> None:
        server = hisock.HiSockServer(None)
        leaves, ending = asyncio.Event(), asyncio.Event()
        hello = frame(b'$CLTHELLO${"name": "Ada", "group": null}')
        coming: list[dict[str, Any]] = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "bytes": hello},
        ]

        async def receive() -> dict[str, Any]:
            if coming:
                return coming.pop(0)
            await leaves.wait()
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(sent: MutableMapping[str, Any]) -> None:
            if sent["type"] != "websocket.accept":
                try:
                    await asyncio.Event().wait()
                finally:
                    ending.set()
                    await asyncio.Event().wait()  # it takes its time to give up

        scope = {"type": "websocket", "path": "/", "headers": [], "client": ("10.0.0.1", 5)}
        async with server:
            request = asyncio.ensure_future(hisock.asgi.endpoint(server)(scope, receive, send))
            await until(lambda: len(server) == 1)
            leaves.set()
            await ending.wait()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert len(server) == 0

    asyncio.run(asyncio.wait_for(play(), PATIENCE))


def test_a_server_that_does_not_run_answers_503() -> None:
    play = hisock.asgi.endpoint(hisock.HiSockServer(None))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await play(scope, receive, send)

    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    try:
        with WebPeer(sock.getsockname()) as peer:
            assert peer.open().status == 503
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{sock.getsockname()[1]}/", timeout=PATIENCE)
        assert caught.value.code == 426
        caught.value.close()
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        sock.close()
