"""What runs around handlers, in which order, and what it makes of results and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest

from hisock._core.middleware import Context, Layer, error_layer, layer_of, needs_loop, wrap

CONTEXT = Context("add", None, b"1")


def context_of(*args: Any) -> Context:
    return CONTEXT


def run(
    handler: Callable[..., Any], *layers: Layer, args: tuple[Any, ...] = (), is_async: bool = False
) -> Any:
    result = wrap(handler, layers, is_async, context_of)(*args)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def add(a: int, b: int) -> int:
    return a + b


async def add_later(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


def fail() -> None:
    raise KeyError("sword")


async def fail_later() -> None:
    raise KeyError("sword")


def test_a_handler_without_layers_is_left_as_it_is() -> None:
    assert wrap(add, [], False, context_of) is add


def tracing(name: str, seen: list[str]) -> Layer:
    def trace(context: Context) -> Generator[None, Any, None]:
        seen.append(f"{name} before {context.command}")
        result = yield
        seen.append(f"{name} after {result}")

    return layer_of(trace)


@pytest.mark.parametrize(("handler", "is_async"), [(add, False), (add_later, True)])
def test_the_first_layer_is_the_outermost_and_none_changes_the_result(
    handler: Callable[..., Any], is_async: bool
) -> None:
    seen: list[str] = []
    layers = (tracing("outer", seen), tracing("inner", seen))
    assert run(handler, *layers, args=(2, 3), is_async=is_async) == 5
    assert seen == ["outer before add", "inner before add", "inner after 5", "outer after 5"]


@pytest.mark.parametrize(("handler", "is_async"), [(add, False), (add_later, True)])
def test_a_generator_may_answer_in_place_of_the_handler_or_after_it(
    handler: Callable[..., Any], is_async: bool
) -> None:
    def instead(context: Context) -> Generator[None, Any, str]:
        if context.command == "add":
            return "never called"
        yield
        return "not reached"

    def after(context: Context) -> Generator[None, Any, int]:
        result = yield
        return int(result) * 10

    assert run(handler, layer_of(instead), is_async=is_async) == "never called"
    assert run(handler, layer_of(after), args=(2, 3), is_async=is_async) == 50


@pytest.mark.parametrize(("handler", "is_async"), [(fail, False), (fail_later, True)])
def test_a_generator_may_answer_an_error_or_let_it_pass(
    handler: Callable[..., Any], is_async: bool
) -> None:
    def mend(context: Context) -> Generator[None, Any, str]:
        try:
            yield
        except KeyError as exc:
            return f"no {exc.args[0]}"
        return "no error"

    def ignore(context: Context) -> Generator[None, Any, None]:
        yield

    assert run(handler, layer_of(mend), is_async=is_async) == "no sword"
    with pytest.raises(KeyError, match="sword"):
        run(handler, layer_of(ignore), is_async=is_async)


@pytest.mark.parametrize("handler", [add, fail])
def test_a_generator_that_yields_twice_is_an_error(handler: Callable[..., Any]) -> None:
    def twice(context: Context) -> Generator[None, Any, None]:
        try:
            yield
        except KeyError:
            pass
        yield

    args = (2, 3) if handler is add else ()
    with pytest.raises(RuntimeError, match="twice yields more than once"):
        run(handler, layer_of(twice), args=args)


async def shout(context: Context, call_next: Callable[[], Any]) -> str:
    return f"{await call_next()}!"


@pytest.mark.parametrize(("handler", "is_async"), [(add, False), (add_later, True)])
def test_an_async_layer_runs_around_both_kinds(handler: Callable[..., Any], is_async: bool) -> None:
    seen: list[str] = []
    layers = (layer_of(shout), tracing("inner", seen))
    assert needs_loop(layers)
    assert not needs_loop(layers[1:])
    assert run(handler, *layers, args=(2, 3), is_async=is_async) == "5!"
    assert seen == ["inner before add", "inner after 5"]


def test_what_is_no_middleware() -> None:
    with pytest.raises(TypeError, match="the middleware add is neither"):
        layer_of(add)


def answer(exc: Exception, context: Context) -> str:
    return f"{context.command}: {exc.args[0]}"


async def answer_later(exc: Exception, context: Context) -> str:
    await asyncio.sleep(0)
    return answer(exc, context)


@pytest.mark.parametrize("answering", [answer, answer_later])
@pytest.mark.parametrize(("handler", "is_async"), [(fail, False), (fail_later, True)])
def test_a_function_for_errors_answers_them(
    answering: Callable[..., Any], handler: Callable[..., Any], is_async: bool
) -> None:
    layer = error_layer(answering)
    assert needs_loop([layer]) == (answering is answer_later)
    assert run(handler, layer, is_async=is_async) == "add: sword"


@pytest.mark.parametrize(("handler", "is_async"), [(add, False), (add_later, True)])
def test_a_function_for_errors_leaves_results_alone(
    handler: Callable[..., Any], is_async: bool
) -> None:
    assert run(handler, error_layer(answer), args=(2, 3), is_async=is_async) == 5


def test_what_a_middleware_has_begun_ends_when_the_program_does() -> None:
    seen: list[str] = []

    def bracket(context: Context) -> Generator[None, Any, None]:
        seen.append("begun")
        try:
            yield
        finally:
            seen.append("ended")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt, layer_of(bracket))
    assert seen == ["begun", "ended"]
