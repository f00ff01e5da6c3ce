"""Reserved events, on both sides, and what sees every frame."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from hisock._core.account import FRAME_COST

from .driving import ADA, ClientSide, ServerSide

Sides = type[ServerSide] | type[ClientSide]
both_sides = pytest.mark.parametrize("make", [ServerSide, ClientSide])


def test_a_servers_events_fire_with_their_client() -> None:
    side = ServerSide()
    seen: list[Any] = []
    side.events.on("join")(lambda client: seen.append(client))
    side.events.on("name_change", threaded=True)(lambda *args: seen.append(args))
    side.events.fire("join", side.peer)
    side.events.fire("name_change", side.peer, "Ada", "Bob")
    side.events.fire("leave", side.peer)
    assert seen == [ADA, (ADA, "Ada", "Bob")]
    assert side.runner.jobs[0].connection is side.peer
    assert side.events.runs_elsewhere("name_change")
    assert not side.events.runs_elsewhere("join")
    assert not side.events.runs_elsewhere("leave")


def test_a_clients_events_fire_with_what_they_are_about() -> None:
    side = ClientSide()
    seen: list[Any] = []
    side.events.on("client_connect")(lambda info: seen.append(info))
    side.events.on("force_disconnect")(lambda: seen.append("kicked"))
    side.events.on("client_disconnect", threaded=True)(lambda info: seen.append(info))
    side.events.fire("client_connect", ADA)
    side.events.fire("force_disconnect")
    side.events.fire("client_disconnect", b"12345")
    assert seen == [ADA, "kicked", b"12345"]
    assert side.runner.sizes == [FRAME_COST + sys.getsizeof(b"12345")]


@both_sides
def test_a_peer_never_reaches_a_reserved_handler_unless_it_is_overridden(make: Sides) -> None:
    side = make()
    seen: list[str] = []
    name = "join" if isinstance(side, ServerSide) else "client_connect"
    side.events.on(name)(lambda client: seen.append("event"))
    side.send((name, b"1"))
    assert seen == []
    assert not side.events.handles(name)
    side.events.on(name, override=True, replace=True)(lambda: seen.append("command"))
    side.events.on(name, replace=True)(lambda: seen.append("again"))
    side.send((name, b"1"))
    if isinstance(side, ServerSide):
        side.events.fire(name, side.peer)
    else:
        side.events.fire(name, ADA)
    assert seen == ["again"]
    assert side.events.handles(name)


def test_disconnect_and_reconnect_are_events_where_the_client_comes_back() -> None:
    for reconnects in (False, True):
        side = ClientSide(reconnects)
        side.events.on("reconnect")(lambda: None)
        assert side.events.handles("reconnect") is not reconnects


@both_sides
def test_the_callback_comes_after_each_frame_and_may_fail(make: Sides) -> None:
    side = make()
    seen: list[str] = []

    def callback() -> None:
        seen.append("callback")
        raise ValueError("no luck")

    side.events.on("a")(lambda: seen.append("a"))
    side.events.callback = callback
    side.events.refresh()
    side.send(("a", b"1"), (None, b"raw"))
    assert seen == ["a", "callback", "callback"]
    assert side.runner.errors == ["no luck", "no luck"]

    def leave() -> None:
        raise KeyboardInterrupt

    side.events.callback = leave
    with pytest.raises(KeyboardInterrupt):
        side.send(("a", b"1"))
