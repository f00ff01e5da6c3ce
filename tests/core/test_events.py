"""The way of a frame to a handler, on both sides."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hisock._core.account import frame_size
from hisock._core.waiting import ReceivedFrame
from hisock.exceptions import InvalidTypeCast

from .driving import ADA, ClientSide, KeptWaiter, ServerSide

Sides = type[ServerSide] | type[ClientSide]
both_sides = pytest.mark.parametrize("make", [ServerSide, ClientSide])


def test_a_servers_handlers_are_called_with_client_and_message() -> None:
    side = ServerSide()
    seen: list[Any] = []
    side.events.on("both")(lambda client, message: seen.append((client, message)))
    side.events.on("client")(lambda client: seen.append(client))
    side.events.on("nothing")(lambda: seen.append("nothing"))
    side.send(("both", b"1"), ("both", b""), ("both", None), ("client", b"1"), ("client", None))
    side.send(("nothing", b"1"), ("nothing", None))
    assert seen == [(ADA, b"1"), (ADA, None), (ADA, None), ADA, ADA, "nothing", "nothing"]


def test_a_clients_handlers_are_called_with_the_message() -> None:
    side = ClientSide()
    seen: list[Any] = []
    side.events.on("message")(lambda message: seen.append(message))
    side.events.on("nothing")(lambda: seen.append("nothing"))
    side.send(("message", b"1"), ("message", None), ("nothing", b"1"), ("nothing", None))
    assert seen == [b"1", None, "nothing", "nothing"]


@both_sides
def test_a_frame_without_a_command_is_the_peers(make: Sides) -> None:
    side = make()
    side.send((None, b"raw"), (None, None))
    assert side.peer.raw == [b"raw", b""]


@both_sides
def test_what_a_handler_raises_is_reported_and_the_rest_is_delivered(make: Sides) -> None:
    side = make()
    seen: list[Any] = []

    def fail(*args: Any) -> None:
        raise ValueError("no luck")

    side.events.on("fail")(fail)
    side.events.on("odd")(_raise_odd)
    side.events.on("next")(lambda: seen.append("next"))
    side.send(("fail", b"1"), ("odd", b"1"), ("fail", None), ("next", b"1"))
    assert seen == ["next"]
    assert side.runner.errors == ["no luck", "the handler raised CancelledError", "no luck"]
    assert [report[1:] for report in side.runner.reports] == [
        ("fail", side.peer.info),
        ("odd", side.peer.info),
        ("fail", side.peer.info),
    ]
    assert isinstance(side.runner.reports[1][0].__cause__, asyncio.CancelledError)


def _raise_odd() -> None:
    raise asyncio.CancelledError


@both_sides
def test_what_ends_the_program_goes_on_to_the_driver(make: Sides) -> None:
    side = make()

    def leave() -> None:
        raise SystemExit(3)

    side.events.on("leave now")(leave)
    for message in (b"1", None):
        with pytest.raises(SystemExit):
            side.send(("leave now", message))
    assert side.runner.reports == []


@both_sides
def test_what_follows_an_ordered_handler_waits(make: Sides) -> None:
    side = make()
    seen: list[str] = []

    async def slow() -> None:
        seen.append("slow")

    side.events.on("slow")(slow)
    side.events.on("fast")(lambda: seen.append("fast"))
    side.peer.busy = 1
    side.send(("slow", b"1"), ("fast", b"1"), (None, b"raw"))
    ((_, job, ordered),) = side.runner.started
    assert ordered
    assert job.connection is side.peer
    assert job.client == side.peer.info
    assert side.peer.deferred == [("fast", b"1"), (None, b"raw")]
    side.runner.finish()
    assert seen == ["slow"]


@both_sides
def test_a_concurrent_handler_holds_nothing_up(make: Sides) -> None:
    side = make()

    async def slow() -> None: ...

    side.events.on("slow", concurrent=True)(slow)
    side.send(("slow", None))
    assert [ordered for _, _, ordered in side.runner.started] == [False]
    side.runner.finish()


@both_sides
def test_a_threaded_handler_gets_a_thread(make: Sides) -> None:
    side = make()
    seen: list[str] = []
    side.events.on("work", threaded=True)(lambda: seen.append("worked"))
    side.send(("work", b"12345"), ("work", None))
    assert seen == ["worked", "worked"]
    assert side.runner.sizes == [frame_size("work", b"12345"), frame_size("work", None)]


@both_sides
def test_a_message_that_does_not_fit_is_reported(make: Sides) -> None:
    side = make()
    if isinstance(side, ServerSide):
        side.events.on("n")(take_number)
        side.events.on("later")(take_number_later)
    else:
        side.events.on("n")(take_only_number)
        side.events.on("later")(take_only_number_later)
    side.send(("n", b"x"), ("later", b"x"))
    assert [type(exc) for exc, _, _ in side.runner.reports] == [InvalidTypeCast, InvalidTypeCast]
    assert side.runner.started == []


def take_number(client: Any, number: int) -> None: ...
async def take_number_later(client: Any, number: int) -> None: ...
def take_only_number(number: int) -> None: ...
async def take_only_number_later(number: int) -> None: ...


# Who gets a frame


@both_sides
def test_without_a_handler_a_frame_goes_to_recv_then_the_wildcard(make: Sides) -> None:
    side = make()
    seen: list[Any] = []
    if isinstance(side, ServerSide):
        side.events.on("*")(lambda client, command, message: seen.append((command, message)))
    else:
        side.events.on("*")(lambda command, message: seen.append((command, message)))
    waiter = KeptWaiter()
    side.waiting.add(("a", None), waiter)
    side.send(("a", b"1"), ("a", b"2"), ("b", None))
    side.events.handle(side.peer, None, b"raw")
    assert waiter.messages == [b"1"]
    assert seen == [("a", b"2"), ("b", None), (None, b"raw")]
    assert side.events.has_wildcard


@both_sides
def test_without_anybody_it_is_kept_for_recv(make: Sides) -> None:
    side = make()
    side.send(("a", b"1"))
    waiter = KeptWaiter()
    side.waiting.add(("a", None), waiter)
    (frame,) = waiter.frames
    assert frame[:3] == ("a", b"1", side.peer.info and side.peer.info.ip)
    assert frame.origin is None, "what is kept holds no connection"


def test_a_stream_takes_what_nobody_else_does() -> None:
    side = ClientSide()
    taken: list[ReceivedFrame] = []
    side.events.stream = taken.append
    side.send(("a", b"1"))
    assert [frame.message for frame in taken] == [b"1"]


def test_the_message_event_gets_every_frame_of_a_server() -> None:
    side = ServerSide()
    seen: list[Any] = []
    side.events.on("handled")(lambda client, message: seen.append("handler"))
    side.events.on("message")(lambda client, command, message: seen.append((command, message)))
    side.send(("handled", b"1"), ("not", b"2"))
    side.events.handle(side.peer, None, b"raw")
    assert seen == ["handler", ("handled", b"1"), ("not", b"2"), (None, b"raw")]


def test_the_message_event_with_two_arguments_gets_the_payload() -> None:
    side = ServerSide()
    seen: list[Any] = []
    side.events.on("message")(lambda client, raw: seen.append(raw))
    side.send(("a", b"1"), ("b", None))
    side.events.handle(side.peer, None, b"raw")
    assert seen == [b"$CMD$a$MSG$1", b"$CMD$b", b"raw"]


@pytest.mark.parametrize("enough", ["wildcard", "stream", "kept", "waiter", "ending"])
def test_what_comes_back_from_a_waiter_is_delivered_again(enough: str) -> None:
    side = ServerSide()
    seen: list[Any] = []
    frame = ReceivedFrame("a", b"1", ADA.ip, origin=None if enough == "kept" else side.peer)
    first: list[ReceivedFrame] = []
    waiter = KeptWaiter()
    if enough in ("wildcard", "kept", "ending"):
        side.events.on("*")(lambda client, command, message: seen.append((client, command)))
    if enough == "stream":
        side.events.stream_first = first.append
    if enough == "waiter":
        side.waiting.add(("a", None), waiter)
    if enough == "ending":
        side.events.end()
    side.events.put_back(frame)
    assert bool(first) == (enough == "stream")
    assert bool(waiter.frames) == (enough == "waiter")
    assert seen == ([(ADA, "a")] if enough == "wildcard" else [])
    assert bool(side.waiting.take_all()) == (enough in ("kept", "ending"))


# Calls


def call(side: ServerSide | ClientSide, command: str, message: bytes | None = None) -> list[Any]:
    answers: list[Any] = []
    side.events.call(side.peer, command, message, lambda result, exc: answers.append(result or exc))
    return answers


@both_sides
def test_a_call_is_answered_with_what_the_handler_returns_or_raises(make: Sides) -> None:
    side = make()

    def fail() -> None:
        raise ValueError("no luck")

    async def later() -> str:
        return "late"

    side.events.on("return")(lambda: "result")
    side.events.on("fail")(fail)
    side.events.on("later")(later)
    side.events.on("thread", threaded=True)(lambda: "from a thread")
    assert call(side, "return") == ["result"]
    assert call(side, "thread", b"1") == ["from a thread"]
    (error,) = call(side, "fail")
    assert str(error) == "no luck"
    assert side.runner.errors == ["no luck"]
    answers = call(side, "later")
    assert answers == []
    side.runner.finish()
    assert answers == ["late"]


@both_sides
@pytest.mark.parametrize("strict", [False, True])
def test_a_call_that_nobody_handles_is_answered_and_counted(make: Sides, strict: bool) -> None:
    side = make()
    side.events.strict = strict
    side.events.on("move")(lambda: None)
    (error,) = call(side, "mvoe")
    assert isinstance(error, LookupError)
    assert ("did you mean 'move'" in str(error)) == strict
    assert side.events.unhandled.counts == {"mvoe": 1}


@pytest.mark.parametrize("strict", [False, True])
def test_a_command_that_nobody_takes_in_time_is_told_of(strict: bool) -> None:
    side = ServerSide()
    side.events.strict = strict
    side.send(("vain", b"1"))
    side.events.note_unhandled()
    assert side.events.unhandled.counts == {}
    side.clock.now += 1.1
    side.events.note_unhandled()
    assert side.events.unhandled.counts == {"vain": 1}
    assert side.runner.errors == (["there is no handler for 'vain'"] if strict else [])


@pytest.mark.parametrize("how", ["message", "cache"])
def test_what_something_sees_is_not_unhandled(how: str) -> None:
    side = ServerSide(cache_size=5 if how == "cache" else -1)
    if how == "message":
        side.events.on("message")(lambda client, command, message: None)
    side.send(("seen", b"1"))
    side.clock.now += 1.1
    side.events.note_unhandled()
    assert side.events.unhandled.counts == {}


def test_the_cache_remembers_who_took_a_frame() -> None:
    side = ServerSide(cache_size=0)
    side.events.on("a")(lambda: None)
    side.send(("a", b"1"), ("b", b"2"))
    side.events.handle(side.peer, None, b"raw")
    assert call(side, "c") != []
    members = side.events.cache.get()
    assert [(member.command, member.called) for member in members] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]


@both_sides
def test_at_the_end_nothing_begins_and_who_waits_is_served(make: Sides) -> None:
    side = make()
    seen: list[Any] = []
    side.events.on("a")(lambda: seen.append("a"))
    if isinstance(side, ServerSide):
        side.events.on("leave")(lambda client: seen.append("left"))
        side.events.on("join")(lambda client: seen.append("joined"))
    waiter = KeptWaiter()
    side.waiting.add(("b", None), waiter)
    side.events.end()
    side.send(("a", b"1"), ("b", b"2"), ("b", b"3"))
    (error,) = call(side, "a")
    assert isinstance(error, ConnectionError)
    assert waiter.messages == [b"2"]
    if isinstance(side, ServerSide):
        side.events.fire("join", side.peer)
        side.events.fire("leave", side.peer)
        assert seen == ["left"]
    else:
        assert seen == []
