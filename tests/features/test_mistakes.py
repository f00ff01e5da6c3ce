"""Mistakes in handlers that show when they are registered."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
import pytest
from support import Events
from support.fixtures import MakePeer, MakeServer

import hisock
from hisock.routing import Handlers, Router

from .loops import LOOPBACK


@pytest.fixture
def server() -> Iterator[hisock.HiSockServer]:
    with hisock.HiSockServer(LOOPBACK) as made:
        yield made


def test_decorators_without_their_call(server: hisock.HiSockServer) -> None:
    def handler() -> None: ...

    with pytest.raises(TypeError, match=r"@server\.every\(seconds\)"):
        server.every(handler)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r'\.on\("command"\)'):
        server.on(handler)  # type: ignore[arg-type]


def message_first(message: bytes, client: hisock.ClientInfo) -> None: ...


def optional_client_last(message: Any, client: hisock.ClientInfo | None = None) -> None: ...


@pytest.mark.parametrize("handler", [message_first, optional_client_last])
@pytest.mark.parametrize("event", ["move", "message"])
def test_the_client_annotated_as_the_second_argument(
    server: hisock.HiSockServer, event: str, handler: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match="the client is the first argument, not 'client'"):
        server.on(event)(handler)


class Move(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Point:
    x: int


def say_text(text: str) -> None: ...
def say_text_with_rest(text: str, rest: bytes) -> None: ...
def take_numbers(numbers: list[int]) -> None: ...
def take_struct(move: Move) -> None: ...
def take_point(point: Point, client: Any) -> None: ...
def take_name(name: Annotated[str, "of a player"]) -> None: ...
def take_client(client: hisock.ClientInfo, message: str) -> None: ...
def take_any(client: Any, message: str) -> None: ...
def take_dict(client: dict[str, Any], message: str) -> None: ...
def take_either(client: hisock.ClientInfo | None) -> None: ...


MESSAGE_FIRST = [say_text, say_text_with_rest, take_numbers, take_struct, take_point, take_name]


@pytest.mark.parametrize("handler", MESSAGE_FIRST)
def test_a_message_annotated_where_the_client_is(
    server: hisock.HiSockServer, handler: Callable[..., Any]
) -> None:
    with pytest.warns(UserWarning, match="is the client") as caught:
        server.on("say")(handler)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("handler", [take_client, take_any, take_dict, take_either])
def test_what_a_client_may_be_annotated_as(
    server: hisock.HiSockServer, handler: Callable[..., Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server.on("say")(handler)


def test_a_method_in_the_body_of_its_class(server: hisock.HiSockServer) -> None:
    with pytest.raises(TypeError, match=r"self\.move"):

        class Game:
            @server.on("move")
            def move(self, client: hisock.ClientInfo) -> None: ...

    class Bound:
        def __init__(self) -> None:
            server.on("move")(self.move)

        def move(self, client: hisock.ClientInfo) -> None: ...

        @server.on("static")
        @staticmethod
        def static(client: hisock.ClientInfo) -> None: ...

    Bound()


def first() -> None: ...
def second() -> None: ...


@pytest.mark.parametrize("event", ["x", "message"])
def test_a_second_handler_is_told_of_with_both_places(
    server: hisock.HiSockServer, event: str
) -> None:
    def one(client: hisock.ClientInfo, message: Any) -> None: ...
    def two(client: hisock.ClientInfo, message: Any) -> None: ...

    server.on(event)(one)
    with pytest.warns(UserWarning, match="replace=True") as caught:
        server.on(event)(two)
    text = str(caught[0].message)
    for handler in (one, two):
        assert f"{handler.__qualname__} ({__file__}:{handler.__code__.co_firstlineno})" in text
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server.on(event, replace=True)(one)
        server.on(event)(one)
        server.on("print")(print)
        server.on("print")(print)
        server.on("partial")(functools.partial(print, "x"))


def test_a_client_warns_too() -> None:
    with hisock.ThreadedHiSockServer(LOOPBACK) as server:
        server.start()
        with hisock.connect(server.addr) as client:
            client.on("x")(first)
            with pytest.warns(UserWarning, match="first.*and second"):
                client.on("x")(second)
            client.on("x", replace=True)(first)


def test_the_default_of_a_message_stands_for_none(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("level")
    def level(client: hisock.ClientInfo, number: int = 7) -> None:
        events.add("level", number)

    @server.on("as dict")
    def as_dict(client: dict[str, Any], text: str = "nothing") -> None:
        events.add("as dict", client["name"], text)

    server.start()
    peer = make_peer(server, "Ada")
    peer.send("level", "3")
    peer.send("level")
    peer.send("level", "")
    peer.send("as dict")
    events.wait_for("as dict")
    assert events.seen == [
        ("level", 3),
        ("level", 7),
        ("level", 7),
        ("as dict", "Ada", "nothing"),
    ]


def test_the_default_of_a_message_stands_for_none_on_a_client(events: Events) -> None:
    with hisock.ThreadedHiSockServer(LOOPBACK) as server:
        server.start()
        with hisock.ThreadedHiSockClient(server.addr, "Ada") as client:

            @client.on("level")
            def level(number: int = 7) -> None:
                events.add("level", number)

            client.start()
            with pytest.raises(hisock.RemoteError):
                client.call("joined")
            server.send_all_clients("level")
            server.send_all_clients("level", 3)
            events.wait_for("level", 3)
            assert events.seen == [("level", 7), ("level", 3)]


def test_a_class_of_handlers_in_place_of_an_object(server: hisock.HiSockServer) -> None:
    class Arena(Handlers): ...

    wrong: Any = Arena
    for include in (server.include, Router().include):
        with pytest.raises(TypeError, match=r"write include\(Arena\(\.\.\.\)\)"):
            include(wrong)


def test_middleware_that_takes_other_arguments(server: hisock.HiSockServer) -> None:
    def none() -> Iterator[None]:
        yield

    async def context_only(context: Any) -> None: ...

    for wrong in (none, context_only):
        with pytest.raises(TypeError, match="is neither `async def"):
            server.middleware(wrong)


@pytest.mark.parametrize(("name", "event"), [("connect", "join"), ("disconnect", "leave")])
def test_a_command_that_is_an_event_elsewhere(
    server: hisock.HiSockServer, name: str, event: str
) -> None:
    with pytest.warns(UserWarning, match=f"{name}' is a command.*is '{event}'"):
        server.on(name)(lambda client: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server.on(name, replace=True)(lambda client, message: None)
        server.on(f"chat.{name}")(lambda client: None)
