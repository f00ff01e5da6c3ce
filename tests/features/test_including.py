"""Routers, and objects with handlers, that are included more than once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support import Events

import hisock
from hisock.routing import Handlers, Router, on

MakeServer = Callable[..., hisock.ThreadedHiSockServer]
MakeClient = Callable[..., hisock.ThreadedHiSockClient]


class Counter(Handlers):
    prefix = "counter."

    @on("add")
    def add(self, client: hisock.ClientInfo, amount: int) -> None: ...


def test_a_router_under_two_prefixes_has_its_commands_twice_and_its_events_once(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    chat, outer = Router("chat."), Router()

    @chat.on("join")
    def joined(client: hisock.ClientInfo) -> None:
        events.add("joined", client.name)

    @chat.on("say")
    def say(client: hisock.ClientInfo, text: str) -> str:
        return text

    outer.include(chat, "v2.")
    outer.include(chat, "v3.")
    server = make_server()
    server.include(chat)
    server.include(outer)
    with pytest.raises(ValueError, match=r"'v2.chat.say'.* prefix 'v2.chat.'.* with 'v2.chat.'"):
        server.include(outer)
    server.start()
    ada = make_client(server, "Ada")
    ada.start()
    for command in ("chat.say", "v2.chat.say", "v3.chat.say"):
        assert ada.call(command, command, str) == command
    assert events.seen == [("joined", "Ada")]


def test_a_router_is_not_included_twice_for_nothing(make_server: MakeServer) -> None:
    server = make_server()
    ticking = Router("a.")
    ticking.every(1)(lambda: None)
    server.include(ticking)
    with pytest.raises(ValueError, match=r"a tick is included already.* 'a.'.* with 'b.a.'"):
        server.include(ticking, "b.")
    counter = Counter()
    server.include(counter)
    server.include(Counter(), "second.")
    with pytest.raises(ValueError, match=r"'counter.add' is included already"):
        server.include(counter)


def test_functions_shared_by_two_routers_are_two_handlers(make_server: MakeServer) -> None:
    server = make_server()
    for router in (Router(), Router()):
        router.on("join")(print)
        server.include(router)
    assert server._hub.events.handlers.reserved["join"].also is not None


def test_a_router_is_no_part_of_itself() -> None:
    outer, inner = Router("outer."), Router("inner.")
    outer.include(inner)
    for router in (outer, inner):
        with pytest.raises(ValueError, match=r"part of itself: .* prefix 'outer\.'"):
            router.include(outer)
