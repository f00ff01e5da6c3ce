"""Routers, classes with handlers, and middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support import Events
from support.fixtures import MakeClient, MakeServer
from support.logs import logged

import hisock
from hisock.routing import Context, Handlers, Router, every, on


def test_a_router_brings_its_handlers_under_its_prefix(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    chat = Router(prefix="chat.")

    @chat.on("say")
    def say(client: hisock.ClientInfo, text: str) -> str:
        return f"{client.name}: {text}"

    server = make_server()
    server.include(chat)
    server.start()
    ada = make_client(server, "Ada")
    ada.start()
    assert ada.call("chat.say", "hello", str) == "Ada: hello"
    with pytest.raises(hisock.RemoteError):
        ada.call("say", "hello", str)


def test_prefixes_of_routers_in_routers_add_up(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    inner, outer = Router("in."), Router("out.")
    outer.include(inner, prefix="mid.")

    @inner.on("ping")
    def ping() -> str:
        return "pong"

    server = make_server()
    server.include(outer, prefix="top.")
    server.start()
    client = make_client(server)
    client.start()
    assert client.call("top.out.mid.in.ping", type=str) == "pong"


def test_events_of_several_routers_are_all_fired_and_not_prefixed(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    one, two = Router("one."), Router("two.")

    @one.on("join")
    def first(client: hisock.ClientInfo) -> None:
        events.add("one", client.name)
        raise ValueError("the others are called all the same")

    @two.on("join")
    async def second(client: hisock.ClientInfo) -> None:
        events.add("two", client.name)

    server = make_server()

    @server.on("join")
    def own(client: hisock.ClientInfo) -> None:
        events.add("server", client.name)

    server.include(one)
    server.include(two)
    server.start()
    with logged("hisock.server"):
        make_client(server, "Ada").start()
        events.wait_until(lambda seen: len(seen) == 3)
    assert events.seen == [("server", "Ada"), ("one", "Ada"), ("two", "Ada")]


def test_a_router_that_was_included_takes_no_more(make_server: MakeServer) -> None:
    router = Router()
    make_server().include(router)
    with pytest.raises(RuntimeError, match="has been included"):
        router.on("late")(lambda: None)


class Counter(Handlers):
    """What a handler class looks like."""

    prefix = "counter."

    def __init__(self) -> None:
        self.value = 0
        self.ticked = Events()

    @on("add")
    def add(self, client: hisock.ClientInfo, amount: int) -> int:
        self.value += amount
        return self.value

    @on("slow", concurrent=True)
    async def slow(self, client: hisock.ClientInfo) -> str:
        await asyncio.sleep(0)
        return "done"

    @every(0.01)
    def tick(self) -> None:
        self.ticked.add("tick")


class Doubling(Counter):
    def add(self, client: hisock.ClientInfo, amount: int) -> int:
        return super().add(client, 2 * amount)


@pytest.mark.parametrize(("kind", "sum_of_it"), [(Counter, 42), (Doubling, 84)])
def test_methods_of_a_class_are_handlers_and_ticks(
    make_server: MakeServer, make_client: MakeClient, kind: type[Counter], sum_of_it: int
) -> None:
    counter = kind()
    server = make_server()
    server.include(counter)
    server.start()
    client = make_client(server)
    client.start()
    client.call("counter.add", 19, int)
    assert client.call("counter.add", 23, int) == sum_of_it == counter.value
    assert client.call("counter.slow", type=str) == "done"
    counter.ticked.wait_for("tick", count=2)


def test_something_else_cannot_be_included(make_server: MakeServer) -> None:
    with pytest.raises(TypeError, match="Router"):
        make_server().include(object())  # type: ignore[arg-type]


def test_clients_take_routers_and_middleware_too(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    router = Router("news.")

    @router.on("board")
    def board(text: str) -> None:
        events.add("board", text)

    server = make_server()
    server.on("join")(lambda client: events.add("joined"))
    server.start()
    ada = make_client(server, "Ada")
    events.wait_for("joined")
    ada.include(router)

    @ada.middleware
    def watch(context: Context) -> Any:
        events.add(context.command, context.client, context.message)
        yield

    ada.start()
    server.send_all_clients("news.board", "hello")
    events.wait_for("board", "hello")
    assert events.wait_for("news.board") == ("news.board", None, b"hello")


def test_clients_have_neither_ticks_nor_async_middleware(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    server = make_server()
    server.start()
    client = make_client(server)
    ticking = Router()
    ticking.every(1)(lambda: None)
    with pytest.raises(TypeError, match="ticks"):
        client.include(ticking)

    async def middleware(context: Context, call_next: Callable[[], Any]) -> Any:
        return await call_next()

    with pytest.raises(TypeError, match="event loop"):
        client.middleware(middleware)


# -- middleware


@pytest.mark.parametrize("is_async", [False, True])
def test_plain_middleware_sees_command_client_message_and_result(
    make_server: MakeServer, make_client: MakeClient, events: Events, is_async: bool
) -> None:
    server = make_server()

    @server.middleware
    def watch(context: Context) -> Any:
        events.add(context.command, context.client and context.client.name, context.message)
        result = yield
        events.add(result)
        return result * 2

    if is_async:

        @server.on("double")
        async def double(client: hisock.ClientInfo, number: int) -> int:
            await asyncio.sleep(0)
            return number
    else:

        @server.on("double")
        def plain_double(client: hisock.ClientInfo, number: int) -> int:
            return number

    server.start()
    client = make_client(server, "Ada")
    client.start()
    assert client.call("double", 21, int) == 42
    assert events.seen == [("double", "Ada", b"21"), (21,)]


def test_async_middleware_runs_around_plain_handlers_too(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()

    @server.on("echo")
    def echo(client: hisock.ClientInfo, text: str) -> str:
        return text

    @server.middleware
    async def watch(context: Context, call_next: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        try:
            return await call_next()
        finally:
            events.add(context.command)

    server.start()
    client = make_client(server)
    client.start()
    assert client.call("echo", "hi", str) == "hi"
    assert events.seen == [("echo",)]


def test_middleware_nests_in_the_order_of_registration(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    router = Router()
    server = make_server()

    def layer(name: str) -> Callable[[Context], Any]:
        def around(context: Context) -> Any:
            events.add(f"{name} in")
            yield
            events.add(f"{name} out")

        return around

    router.middleware(layer("router"))
    router.on("go")(lambda: events.add("handler"))
    server.include(router)
    server.middleware(layer("first"))
    server.middleware(layer("second"))
    server.start()
    client = make_client(server)
    client.start()
    client.call("go")
    ins = [("first in",), ("second in",), ("router in",)]
    outs = [("router out",), ("second out",), ("first out",)]
    assert events.seen == [*ins, ("handler",), *outs]


def test_middleware_may_answer_in_place_of_the_handler(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    server = make_server()

    @server.middleware
    def guard(context: Context) -> Any:
        if context.message == b"secret":
            return "no"
        yield
        return None

    @server.on("ask")
    def ask(client: hisock.ClientInfo, text: str) -> str:
        return "yes"

    server.start()
    client = make_client(server)
    client.start()
    assert client.call("ask", "secret", str) == "no"
    assert client.call("ask", "else", str) == "yes"


def test_a_routers_error_handler_answers_for_its_own_handlers_only(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    shop = Router("shop.")

    @shop.error_handler
    def failed(exc: Exception, context: Context) -> str:
        if isinstance(exc, KeyError):
            return f"{context.command}: nothing called {exc.args[0]}"
        raise exc

    @shop.on("price")
    def price(client: hisock.ClientInfo, item: str) -> int:
        return {"lamp": 5}[item]

    @shop.on("break")
    async def break_it(client: hisock.ClientInfo) -> int:
        raise ValueError("broken")

    server = make_server()
    server.include(shop)

    @server.on("other")
    def other(client: hisock.ClientInfo) -> int:
        raise KeyError("other")

    server.start()
    client = make_client(server)
    client.start()
    assert client.call("shop.price", "lamp", int) == 5
    assert client.call("shop.price", "moon", str) == "shop.price: nothing called moon"
    with logged("hisock.server"):
        with pytest.raises(hisock.RemoteError, match="broken"):
            client.call("shop.break")
        with pytest.raises(hisock.RemoteError):
            client.call("other")


def test_middleware_that_yields_twice_is_an_error_of_its_own(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    server = make_server()

    @server.middleware
    def twice(context: Context) -> Any:
        yield
        yield

    server.on("go")(lambda: None)
    server.start()
    client = make_client(server)
    client.start()
    with (
        logged("hisock.server"),
        pytest.raises(hisock.RemoteError, match="yields more than once"),
    ):
        client.call("go")


def test_what_is_no_middleware_is_refused(make_server: MakeServer) -> None:
    with pytest.raises(TypeError, match="neither"):
        make_server().middleware(lambda context: None)


def test_a_threaded_handler_takes_no_async_middleware(make_server: MakeServer) -> None:
    server = make_server()
    server.on("work", threaded=True)(lambda: None)

    async def middleware(context: Context, call_next: Callable[[], Any]) -> Any:
        return await call_next()

    with pytest.raises(TypeError, match="threaded"):
        server.middleware(middleware)
    server.on("other")(lambda: None)  # the server is as it was before
