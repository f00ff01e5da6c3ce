"""``authenticate`` and ``authorize_change``: what they may return, and what comes of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest
from support import Peer
from support.events import PATIENCE
from support.logs import logged
from support.wire import Frame

import hisock

Wire = Callable[[hisock.ThreadedHiSockServer], Any]


@contextlib.contextmanager
def serving(wire: Wire, **options: Any) -> Iterator[hisock.ThreadedHiSockServer]:
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0), **options) as server:

        @server.on("who am i")
        def who(client: hisock.ClientInfo) -> list[str | None]:
            return [client.name, client.group]

        wire(server)
        server.start()
        yield server


def modern(server: hisock.HiSockServer, name: str | None, **more: Any) -> Peer:
    """A peer that knows ``names``."""
    peer = Peer(server.addr)
    hello = {"name": name, "group": None, "features": ["call", "reject", "names"], **more}
    peer.reserved("CLTHELLO", json.dumps(hello))
    return peer


def is_reserved(name: str, frame: Frame) -> bool:
    return frame.reserved == name


def who_am_i(peer: Peer) -> Any:
    peer.raw(b"$CALL$1$CMD$who am i")
    reply = peer.wait_for(lambda f: f.reserved == "REPLY")
    return json.loads(reply.payload.removeprefix(b"$REPLY$1$MSG$"))


POOL = concurrent.futures.ThreadPoolExecutor(1)


class Later:
    """An awaitable that is neither a coroutine nor a future."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from asyncio.sleep(0).__await__()
        return self._answer


def raises() -> Any:
    raise hisock.Reject("no")


async def coroutine(answer: Any) -> Any:
    await asyncio.sleep(0)
    return raises() if answer is raises else answer


WAYS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda answer: raises() if answer is raises else answer,
    "coroutine": coroutine,
    "task": lambda answer: asyncio.ensure_future(coroutine(answer)),
    "future": lambda answer: asyncio.get_running_loop().run_in_executor(
        POOL, lambda: raises() if answer is raises else answer
    ),
    "future of a thread": lambda answer: POOL.submit(
        lambda: raises() if answer is raises else answer
    ),
    "awaitable": lambda answer: Later(coroutine(answer)),
    "nested": lambda answer: coroutine(asyncio.ensure_future(coroutine(answer))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "no", [False, hisock.Reject("no"), raises], ids=["False", "value", "raise"]
)
def test_a_no_keeps_a_client_out(way: str, no: Any) -> None:
    with serving(lambda server: server.authenticate(lambda token: WAYS[way](no))) as server:
        with pytest.raises(hisock.ConnectionRejected):
            hisock.connect(server.addr, name="ann", token="wrong")
        assert server.stats().ended == {"rejected": 1}
        assert server.stats().handler_errors == 0


@pytest.mark.parametrize("way", WAYS)
def test_anything_else_lets_it_in(way: str) -> None:
    answers = {"none": None, "yes": True, "zero": 0, "empty": ""}

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.authenticate(lambda name: WAYS[way](answers[name]))

    with serving(wire) as server:
        for name in answers:
            with hisock.connect(server.addr, name=name, token="right") as client:
                assert client.call("who am i", None, list) == [name, None]


@pytest.mark.parametrize("way", WAYS)
def test_accept_says_what_a_client_is_called_and_keeps_its_session(way: str) -> None:
    account = {"user": 7}

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.authenticate(
            lambda token: WAYS[way](hisock.Accept(name="Ann", group="staff", session=account))
        )

    with serving(wire) as server, modern(server, "a@b.example") as ann:
        assert who_am_i(ann) == ["Ann", "staff"]
        assert server.session("Ann") is account
        assert [info.name for info in server.get_group("staff")] == ["Ann"]


def test_a_client_that_knows_names_is_told_what_it_is_called() -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.authenticate(lambda name: hisock.Accept(name="Ann"))

    with serving(wire) as server, modern(server, "a@b.example") as ann:
        assert ann.wait_for(lambda f: f.reserved == "CHNAME").data == b"Ann"
        assert ann.wait_for(lambda f: f.reserved == "CHGROUP").data == b""
        # Empty is what the server let it in as.
        assert who_am_i(ann) == ["Ann", None]
    with serving(wire) as server, Peer(server.addr) as old:
        old.hello("a@b.example")
        joined = old.wait_for(lambda f: f.reserved == "CLTCONN")
        assert joined.json["name"] == "Ann"
        old.reserved("USRCLOSE")
        assert [f.reserved for f in old.rest()] == ["DISCONN"]


def test_what_accept_leaves_out_is_as_the_client_asked() -> None:
    assert hisock.Accept().identity("a", "b") == ("a", "b")
    assert hisock.Accept(name=None).identity("a", "b") == (None, "b")
    assert hisock.Accept(group="c").identity("a", "b") == ("a", "c")
    with pytest.raises(ValueError, match="1024"):
        hisock.Accept(name="x" * 1025)


def refusing(server: hisock.ThreadedHiSockServer) -> None:
    server.authenticate(lambda name: None)


def test_who_is_authenticated_stays_who_it_is() -> None:
    with serving(refusing) as server, logged("hisock.server") as log:
        with modern(server, "guest") as guest:
            for name, new in (("CHNAME", "admin"), ("CHGROUP", "staff")):
                guest.reserved(name, new)
                told = guest.wait_for(partial(is_reserved, name))
                assert told.data == (b"guest" if name == "CHNAME" else b"")
            assert who_am_i(guest) == ["guest", None]
            guest.reserved("CHNAME")  # to what it joined with, which it still is
            assert who_am_i(guest) == ["guest", None]
        with Peer(server.addr) as old:
            old.hello("guest")
            old.reserved("CHNAME", "admin")
            old.reserved("GETCLT", "guest")
            assert old.wait_for(lambda f: f.payload.startswith(b"{")).json["name"] == "guest"
    assert sum("stays what it is" in text for text in log.messages) == 3


def test_refusals_do_not_flood_the_log() -> None:
    with (
        serving(refusing) as server,
        logged("hisock.server") as log,
        modern(server, "guest") as guest,
    ):
        for _ in range(2000):
            guest.reserved("CHNAME", "admin")
        assert who_am_i(guest) == ["guest", None]
    assert len(log.messages) < 450


@pytest.mark.parametrize("way", WAYS)
def test_authorize_change_decides(way: str) -> None:
    asked: list[hisock.ChangeRequest] = []

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        refusing(server)

        @server.authorize_change
        def authorize(request: hisock.ChangeRequest) -> Any:
            asked.append(request)
            answers = {"nice": True, "rude": False, "worse": raises}
            return WAYS[way](answers[request.name or ""])

    with serving(wire) as server, modern(server, "guest") as guest:
        for name in ("nice", "rude", "worse"):
            guest.reserved("CHNAME", name)
            # What is sent meanwhile is handled with the name that was decided about.
            assert who_am_i(guest) == ["nice", None]
        guest.reserved("CHGROUP", "staff")
        assert who_am_i(guest) == ["nice", "staff"]
    assert [(each.client.name, each.name, each.group) for each in asked] == [
        ("guest", "nice", None),
        ("nice", "rude", None),
        ("nice", "worse", None),
        ("nice", "nice", "staff"),
    ]


def test_authorize_change_works_without_authenticate_and_its_errors_refuse() -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authorize_change
        def authorize(client: hisock.ClientInfo, name: str | None) -> bool:
            if name == "error":
                raise RuntimeError("cannot decide")
            return client.name != name

    with serving(wire) as server, modern(server, "guest") as guest:
        guest.reserved("CHNAME", "error")
        assert who_am_i(guest) == ["guest", None]
        assert server.stats().handler_errors == 1
        guest.reserved("CHNAME", "other")
        assert who_am_i(guest) == ["other", None]


def test_without_both_clients_are_called_what_they_like() -> None:
    with serving(lambda server: None) as server, modern(server, "guest") as guest:
        guest.reserved("CHNAME", "other")
        assert guest.wait_for(lambda f: f.reserved == "CHNAME").data == b"other"
        assert who_am_i(guest) == ["other", None]


def test_a_taken_name_is_told_to_a_client_that_knows_names() -> None:
    with (
        serving(lambda server: None, unique_names=True) as server,
        modern(server, "Ada"),
        modern(server, "Bob") as bob,
    ):
        assert who_am_i(bob) == ["Bob", None]
        bob.reserved("CHNAME", "Ada")
        assert bob.wait_for(lambda f: f.reserved == "CHNAME").data == b"Bob"


@pytest.mark.parametrize("func", [lambda: True, lambda a, b: True, lambda client, no: True])
def test_a_function_that_takes_something_else_cannot_decide(func: Callable[..., Any]) -> None:
    with (
        hisock.HiSockServer(("127.0.0.1", 0)) as server,
        pytest.raises(TypeError, match="ChangeRequest"),
    ):
        server.authorize_change(func)


def cancelled_at_once() -> Any:
    raise asyncio.CancelledError


async def cancelled_later() -> Any:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


def cancelled_future() -> Any:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


class Strange(BaseException):
    """Not an ``Exception``, such as some libraries raise to unwind."""


async def strange() -> Any:
    await asyncio.sleep(0)
    raise Strange


@pytest.mark.parametrize(
    "cancelled", [cancelled_at_once, cancelled_later, cancelled_future, strange]
)
def test_a_cancellation_rejects_and_frees_the_place(cancelled: Callable[[], Any]) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.authenticate(lambda name: cancelled() if name == "ann" else None)

    with serving(wire, max_connections=1) as server:
        with modern(server, "ann") as ann:
            first = ann.read(PATIENCE)
            assert first.reserved == "REJECT"
            assert b"could not authenticate" in first.data
            ann.rest()
        assert server.stats().ended == {"rejected": 1}
        for _ in range(50):  # the place is free when the transport is closed
            with modern(server, "bob") as bob:
                if bob.read().reserved == "SRVHELLO":
                    break
                bob.rest()
        else:
            pytest.fail("its place stays taken")


def test_a_client_that_the_decision_about_its_name_disconnects_leaves_nothing() -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authorize_change
        def disconnect(client: hisock.ClientInfo) -> bool:
            server.disconnect_client(client)
            return True

    with serving(wire) as server:
        with modern(server, "eve") as eve:
            who_am_i(eve)
            eve.reserved("CHNAME", "root")
            eve.rest()
        with modern(server, "bob") as bob:
            who_am_i(bob)
            for name in ("eve", "root"):
                with pytest.raises(hisock.ClientNotFound):
                    server.get_client(name)
            assert server.stats().handler_errors == 0
