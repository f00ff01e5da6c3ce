"""Commands that nobody handles, and error handlers with their context."""

from __future__ import annotations

from typing import Any

import pytest
from support import Events
from support.events import PATIENCE
from support.fixtures import MakePeer, MakeServer
from support.logs import logged

import hisock

from .loops import LOOPBACK, Seen, on_loops


def until_counted(server: hisock.HiSockServer, events: Events, **wanted: int) -> None:
    """Until the server's figures say so; a tick looks."""
    server.every(0.05)(lambda: events.add("stats", dict(server.stats().unhandled)))
    events.wait_for("stats", wanted)


def test_a_misspelt_command_is_counted_and_told_of_once(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("move")(lambda client: None)
    server.start()
    peer = make_peer(server)
    with logged("hisock.server") as log:
        for _ in range(3):
            peer.send("mvoe", "1")
        peer.send("something else")
        until_counted(server, events, mvoe=3, **{"something else": 1})
    assert sorted(log.messages) == [
        "there is no handler for 'mvoe'; did you mean 'move'?",
        "there is no handler for 'something else'",
    ]
    assert server.stats().handler_errors == 0
    assert server.stats().clients == 1


def test_what_somebody_takes_is_not_unhandled(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("begin", threaded=True)
    def begin(client: hisock.ClientInfo) -> None:
        server.send_client(client, "go")
        events.add("received", server.recv("asked", timeout=PATIENCE))

    server.start()
    peer = make_peer(server)
    peer.ask("begin", answer="go")
    peer.send("asked", "1")
    events.wait_for("received", b"1")
    peer.send("vain")
    until_counted(server, events, vain=1)


@pytest.mark.parametrize("event", ["*", "message"])
def test_what_the_wildcard_or_the_message_event_gets_is_not_unhandled(
    make_server: MakeServer, make_peer: MakePeer, events: Events, event: str
) -> None:
    server = make_server()
    server.on(event)(lambda client, command, message: events.add(command))
    server.start()
    peer = make_peer(server)
    with logged("hisock.server") as log:
        peer.send("anything")
        events.wait_for("anything")
        ticks = Events()
        server.every(0.6)(lambda: ticks.add("tick"))
        ticks.wait_for("tick", count=4)
    assert server.stats().unhandled == {}
    assert log.messages == []


@pytest.mark.parametrize("strict", [False, True])
def test_a_call_of_a_misspelt_command_is_answered(
    make_server: MakeServer, events: Events, strict: bool
) -> None:
    server = make_server(strict=strict)
    server.on("move")(lambda client: 1)
    server.start()
    with hisock.connect(server.addr) as client:
        with pytest.raises(hisock.RemoteError) as raised:
            client.call("mvoe", timeout=PATIENCE)
        told = "; did you mean 'move'?" if strict else ""
        assert str(raised.value) == f"there is no handler for 'mvoe'{told}"
        assert client.call("move", None, int) == 1
    assert server.stats().unhandled == {"mvoe": 1}


def test_the_answer_to_a_call_of_a_very_long_command_is_short(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with hisock.connect(server.addr) as client:
        with pytest.raises(hisock.RemoteError, match="no handler") as raised:
            client.call("\N{SNOWMAN}" * 100_000, timeout=PATIENCE)
        assert len(str(raised.value)) < 200


def test_strict_gives_a_misspelt_command_to_the_error_handler(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server(strict=True, error_handler=lambda exc: events.add(str(exc)))
    server.on("move")(lambda client: server.send_client(client, "moved"))
    server.start()
    peer = make_peer(server)
    peer.send("mvoe")
    events.wait_for("there is no handler for 'mvoe'; did you mean 'move'?")
    peer.ask("move", answer="moved")


def test_a_client_tells_of_commands_that_it_does_not_handle(events: Events) -> None:
    with hisock.ThreadedHiSockServer(LOOPBACK) as server:
        server.start()
        with hisock.ThreadedHiSockClient(server.addr, "Ada", strict=True) as client:
            client.on("move")(lambda: None)
            client.start(error_handler=lambda exc, context: events.add(context.command, str(exc)))
            with pytest.raises(hisock.RemoteError):
                client.call("joined")
            with pytest.raises(hisock.RemoteError, match="did you mean 'move'"):
                server.call_blocking("Ada", "mvoe")
            server.send_all_clients("moev")
            server.every(0.1)(lambda: events.add("counted", client.unhandled))
            events.wait_for("counted", {"mvoe": 1, "moev": 1})
            events.wait_for("moev", "there is no handler for 'moev'; did you mean 'move'?")


# The error handler


def fail(client: hisock.ClientInfo) -> None:
    raise ValueError("no luck")


def handlers(events: Events) -> dict[str, Any]:
    def both(exc: Exception, context: hisock.ErrorContext) -> None:
        events.add(str(exc), context.command, getattr(context.client, "name", None))

    def one(exc: Exception) -> None:
        events.add(str(exc), "fail", "Ada")

    def one_and_its_own(exc: Exception, times: int = 1) -> None:
        events.add(str(exc), "fail", "Ada")

    def optional_context(exc: Exception, context: Any = None) -> None:
        both(exc, context)

    class Method:
        def both(self, exc: Exception, context: hisock.ErrorContext) -> None:
            both(exc, context)

    return {
        "both": both,
        "one": one,
        "one and its own": one_and_its_own,
        "optional context": optional_context,
        "method": Method().both,
    }


@pytest.mark.parametrize("form", handlers(Events()))
@pytest.mark.parametrize("where", ["constructor", "start", "start instead"])
def test_an_error_handler_has_one_form_everywhere(
    make_server: MakeServer, make_peer: MakePeer, events: Events, where: str, form: str
) -> None:
    handler = handlers(events)[form]
    wrong = {"constructor": handler, "start": None}.get(where, lambda exc: events.add("wrong"))
    server = make_server(error_handler=wrong)
    server.on("fail")(fail)
    server.start(error_handler=None if where == "constructor" else handler)
    make_peer(server, "Ada").send("fail")
    assert events.wait_for("no luck") == ("no luck", "fail", "Ada")


@on_loops
async def test_the_error_handler_of_the_constructor_serves_async_with() -> None:
    seen = Seen()
    server = hisock.HiSockServer(LOOPBACK, error_handler=handlers(seen)["both"])
    server.on("fail")(fail)
    async with server, await hisock.async_connect(server.addr, "Ada") as client:
        client.send("fail")
        assert await seen.until_named("no luck") == ("fail", "Ada")


def fail_here() -> None:
    raise ValueError("no luck")


@pytest.mark.parametrize("form", ["both", "one"])
@pytest.mark.parametrize("where", ["constructor", "start"])
def test_an_error_handler_of_a_client_gets_the_context_too(
    events: Events, where: str, form: str
) -> None:
    def both(exc: Exception, context: hisock.ErrorContext) -> None:
        events.add(str(exc), *context)

    def one(exc: Exception) -> None:
        events.add(str(exc), "fail", None)

    handler: Any = {"both": both, "one": one}[form]
    given = handler if where == "constructor" else None
    with hisock.ThreadedHiSockServer(LOOPBACK) as server:
        server.start()
        with hisock.ThreadedHiSockClient(server.addr, "Ada", error_handler=given) as client:
            client.on("fail")(fail_here)
            client.start(error_handler=handler if where == "start" else None)
            with pytest.raises(hisock.RemoteError):
                client.call("joined")
            server.send_client("Ada", "fail")
            assert events.wait_for("no luck") == ("no luck", "fail", None)


@on_loops
async def test_an_error_handler_of_an_async_client() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:
        handler = handlers(seen)["both"]
        async with await hisock.async_connect(server.addr, error_handler=handler) as client:
            assert client.error_handler is handler
            client.on("fail")(fail_here)
            with pytest.raises(hisock.RemoteError):
                await client.call("joined")
            server.send_all_clients("fail")
            assert await seen.until_named("no luck") == ("fail", None)
            client.error_handler = lambda exc: seen.add("instead", str(exc))
            server.send_all_clients("fail")
            assert await seen.until_named("instead") == ("no luck",)
            client.error_handler = None
            assert client.error_handler is None


def test_an_error_handler_that_nobody_can_call() -> None:
    def three(exc: Exception, context: Any, more: Any) -> None: ...
    async def later(exc: Exception) -> None: ...

    wrong: Any
    for wrong in (three, later):
        with pytest.raises(TypeError, match="error handler"):
            hisock.HiSockServer(LOOPBACK, error_handler=wrong)
    with hisock.HiSockServer(LOOPBACK) as server, pytest.raises(TypeError, match="error handler"):
        server.start(error_handler=three)  # type: ignore[arg-type]


def test_waiting_for_what_a_handler_takes_is_told_of_once(make_server: MakeServer) -> None:
    server = make_server()
    server.on("tea")(lambda client: None)
    server.start()
    with logged("hisock") as log, hisock.connect(server.addr, "Ada") as client:
        client.on("tea")(lambda: None)
        for receiver in (client, server, client, server):
            with pytest.raises(TimeoutError):
                receiver.recv("tea", timeout=0.01)
        with pytest.raises(TimeoutError):
            client.recv("coffee", timeout=0.01)
    told = [text for text in log.messages if "waits" in text]
    assert told == ["what waits for 'tea' gets nothing: a handler takes that command"] * 2


def test_a_handler_of_disconnect_without_reconnect_is_told_of(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with logged("hisock.client") as log, hisock.connect(server.addr, "Ada") as client:
        client.on("disconnect")(lambda: None)
        client.get_client("Ada", timeout=PATIENCE)  # it has joined
        server.disconnect_all_clients(force=True)
        with pytest.raises(hisock.ConnectionLost):
            client.start()
    assert "the handler of 'disconnect' is called only with reconnect=" in log.messages
