"""Routers and classes with handlers, before a server or client takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from hisock._core.binding import ClientBinding, ServerBinding
from hisock._core.codec import find_codec
from hisock._core.handlers import HandlerTable, Mode
from hisock._core.middleware import Context
from hisock._core.routes import Handlers, Part, Router, every, on

from .driving import ADA

JSON = find_codec("json")


def table(has_loop: bool = True) -> HandlerTable:
    """What is registered on a server, or on a client that has no loop."""
    binding: Any = ServerBinding(JSON) if has_loop else ClientBinding(JSON, reconnects=False)
    return HandlerTable(binding, has_loop)


def around(context: Context) -> Generator[None, Any, None]:
    yield


def test_commands_get_the_prefixes_of_all_that_they_are_part_of() -> None:
    inner, outer = Router(prefix="say."), Router(prefix="chat.")

    @inner.on("loud", threaded=True)
    def loud(client: Any) -> None: ...

    outer.include(inner, "now.")
    (route,) = outer.__routes__()
    assert (route.prefix, route.name) == ("chat.now.say.", "loud")
    assert route.options == {
        "threaded": True,
        "override": False,
        "concurrent": False,
        "replace": False,
    }
    assert route.func is loud


def test_layers_go_from_the_outer_router_to_the_inner_one_and_errors_are_outermost() -> None:
    inner, outer = Router(), Router()
    inner.on("loud")(lambda client: None)
    inner.middleware(around)
    outer.include(inner)
    outer.middleware(around)
    outer.error_handler(lambda exc, context: None)
    (route,) = outer.__routes__()
    assert route.layers == (*outer._errors, *outer._layers, *inner._layers)
    assert len(route.layers) == 3


@pytest.mark.parametrize(
    "late",
    [
        lambda router: router.on("more")(lambda client: None),
        lambda router: router.every(1)(lambda: None),
        lambda router: router.middleware(around),
        lambda router: router.error_handler(lambda exc, context: None),
        lambda router: router.include(Router()),
    ],
    ids=["on", "every", "middleware", "error_handler", "include"],
)
def test_nothing_can_be_added_once_a_router_is_included(late: Callable[[Router], object]) -> None:
    router = Router()
    assert list(router.__routes__()) == []
    with pytest.raises(RuntimeError, match="has been included"):
        late(router)


@pytest.mark.parametrize("register", [on, Router().on])
@pytest.mark.parametrize("command", ["", "$CMD$"])
def test_a_command_that_is_none(register: Callable[[str], object], command: str) -> None:
    with pytest.raises(ValueError, match="command"):
        register(command)


class Arena(Handlers):
    prefix = "arena."

    def __init__(self) -> None:
        self.seen: list[str] = []

    @on("hit")
    @on("strike")
    def hit(self, client: Any) -> None:
        self.seen.append("hit")

    @every(0.5)
    def move(self) -> None:
        self.seen.append("move")

    def helper(self) -> None: ...


class Loud(Arena):
    def hit(self, client: Any) -> None:
        self.seen.append("HIT")


def test_a_class_gives_its_marked_methods_bound() -> None:
    arena = Arena()
    routes = {route.name: route for route in arena.__routes__()}
    assert routes.keys() == {"hit", "strike", None}
    assert {route.prefix for route in routes.values()} == {"arena."}
    assert routes[None].options == {"interval": 0.5}
    routes["hit"].func(ADA)
    routes[None].func()
    assert arena.seen == ["hit", "move"]


def test_a_method_that_overrides_a_marked_one_is_called_in_its_place() -> None:
    loud = Loud()
    routes = {route.name: route for route in loud.__routes__()}
    routes["strike"].func(ADA)
    assert loud.seen == ["HIT"]


def test_what_can_be_included() -> None:
    assert isinstance(Router(), Part)
    assert isinstance(Arena(), Part)
    wrong: Any = Arena.hit
    with pytest.raises(TypeError, match="include\\(\\) takes a Router or an object of Handlers"):
        table().include(wrong, "")


def test_a_tick_of_a_router() -> None:
    router = Router(prefix="chat.")

    @router.every(0.5)
    def tick() -> None: ...

    (route,) = router.__routes__()
    assert (route.name, route.func, route.options) == (None, tick, {"interval": 0.5})


# Registered


def test_including_registers_commands_with_prefixes_and_gives_back_the_ticks() -> None:
    handlers, arena = table(), Arena()
    (tick,) = handlers.include(arena, "big.")
    assert tick.options == {"interval": 0.5}
    assert handlers.commands.keys() == {"big.arena.hit", "big.arena.strike"}
    handlers.commands["big.arena.hit"].full(ADA, b"")
    assert arena.seen == ["hit"]


def test_a_reserved_event_has_no_prefix_unless_it_is_overridden() -> None:
    router = Router(prefix="chat.")
    router.on("join")(lambda client: None)
    router.on("leave", override=True)(lambda client: None)
    handlers = table()
    handlers.include(router, "")
    assert handlers.reserved.keys() == {"join"}
    assert handlers.commands.keys() == {"chat.leave"}


def test_handlers_of_one_event_are_called_in_the_order_of_their_routers() -> None:
    seen: list[str] = []
    handlers = table()
    for name in ("first", "second"):
        router = Router()
        router.on("join")(lambda client, name=name: seen.append(name))
        handlers.include(router, "")
    handler = handlers.reserved["join"]
    handler.func(ADA)
    assert handler.also is not None
    handler.also.func(ADA)
    assert handler.also.also is None
    assert seen == ["first", "second"]


def test_an_overridden_name_is_a_command_and_no_event() -> None:
    handlers = table()
    handlers.register(lambda client: None, "join", {})
    assert handlers.is_event("join")
    handlers.register(lambda client: None, "join", {}, override=True, replace=True)
    assert not handlers.is_event("join")
    assert handlers.reserved == {}
    assert handlers.commands.keys() == {"join"}


# Middleware of all handlers


async def awaiting(context: Context, call_next: Callable[[], Any]) -> Any:
    return await call_next()


def test_middleware_runs_around_what_is_registered_before_and_after() -> None:
    seen: list[Context] = []
    changes: list[None] = []

    def trace(context: Context) -> Generator[None, Any, None]:
        seen.append(context)
        yield

    handlers = HandlerTable(ServerBinding(JSON), True, lambda: changes.append(None))
    handlers.register(lambda client, message: message, "early", {})
    handlers.use(trace)
    handlers.register(lambda client: None, "late", {})
    handlers.register(lambda client: None, "join", {})
    assert len(changes) == 4
    assert handlers.commands["early"].full(ADA, b"hi") == b"hi"
    handlers.commands["late"].empty(ADA)
    handlers.reserved["join"].func(ADA)
    assert [context.command for context in seen] == ["early", "late", "join"]
    assert seen[0] == Context("early", ADA, b"hi")


def test_a_plain_handler_inside_of_async_middleware_is_a_coroutine_in_order() -> None:
    handlers = table()
    handlers.register(lambda client: None, "go", {})
    handlers.use(awaiting)
    assert handlers.commands["go"].mode is Mode.ORDERED
    assert handlers.direct() == {}


def test_async_middleware_and_a_threaded_handler_do_not_go_together() -> None:
    handlers = table()
    handlers.register(lambda client: None, "go", {}, threaded=True)
    before = handlers.commands["go"]
    with pytest.raises(TypeError, match="'go' is threaded, and what runs around it is async"):
        handlers.use(awaiting)
    assert handlers.commands["go"] is before
    router = Router()
    router.middleware(awaiting)
    router.on("more", threaded=True)(lambda client: None)
    with pytest.raises(TypeError, match="'more' is threaded"):
        handlers.include(router, "")
    assert handlers.commands.keys() == {"go"}
    handlers.use(around)
    assert handlers.commands.keys() == {"go"}, "nothing of what failed is left"


def test_what_is_async_needs_a_loop() -> None:
    handlers = table(has_loop=False)
    router = Router()
    router.middleware(awaiting)
    router.on("go")(lambda message: None)
    with pytest.raises(TypeError, match="what runs around the handler is async, and a blocking"):
        handlers.include(router, "")
    with pytest.raises(TypeError, match="the middleware is async, and a blocking client"):
        handlers.use(awaiting)

    async def handle(message: bytes) -> None: ...

    with pytest.raises(TypeError, match=r"handler .*handle is async, and a blocking client"):
        handlers.register(handle, "go", {})
    assert handlers.commands == {}


def test_middleware_on_a_client_sees_the_message_and_no_client() -> None:
    seen: list[Context] = []

    def trace(context: Context) -> Generator[None, Any, None]:
        seen.append(context)
        yield

    handlers = table(has_loop=False)
    handlers.use(trace)
    handlers.register(lambda message: None, "go", {})
    handlers.commands["go"].full(b"hi")
    handlers.commands["go"].empty()
    assert seen == [Context("go", None, b"hi"), Context("go", None, None)]
