"""Middleware: functions that see each command before its handler, and each result after it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

from hisock._core.client_info import ClientInfo
from hisock._core.faults import is_answer
from hisock._core.signature import require_arguments


class Context(NamedTuple):
    """One run of a handler, as middleware sees it.

    :ivar command: the command, or the reserved event.
    :ivar client: on a server, the client that sent the frame; ``None`` on a client.
    :ivar message: the message as received, ``bytes``; ``None`` without a message, and for most
        events.
    """

    command: str
    client: ClientInfo | None
    message: bytes | None


#: ``async (context, call_next) -> result``, or a generator function ``(context)`` that yields once.
Middleware = Callable[..., Any]
#: Calls the next layer, or the handler: ``(context, call_next)``.
Step = Callable[[Context, Callable[[], Any]], Any]
#: From the arguments of a bound handler to its context.
ContextOf = Callable[..., Context]


class Layer(NamedTuple):
    """One middleware, ready to run around handlers.

    :ivar plain: runs around a handler that is not async; ``None`` if it cannot.
    :ivar awaited: runs around one that is.
    """

    plain: Step | None
    awaited: Step


def layer_of(middleware: Middleware) -> Layer:
    """Make a layer of a middleware function.

    :raises TypeError: it is neither async nor a generator function, or takes other arguments.
    """
    if inspect.iscoroutinefunction(middleware) and _takes(middleware, 2):
        return Layer(None, middleware)
    if inspect.isgeneratorfunction(middleware) and _takes(middleware, 1):
        return Layer(partial(_around, middleware), partial(_around_async, middleware))
    name = getattr(middleware, "__qualname__", repr(middleware))
    raise TypeError(
        f"the middleware {name} is neither `async def {name}(context, call_next)` nor a function "
        "of (context) that yields once, where the handler runs"
    )


def _takes(func: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with that many arguments."""
    try:
        require_arguments(func, *range(count))
    except TypeError:
        return False
    return True


def error_layer(func: Callable[[Exception, Context], Any]) -> Layer:
    """A layer that hands the errors of handlers to a function; its result is the reply.

    A handler that raises ``RemoteError`` has answered by itself.
    """

    def plain(context: Context, call_next: Callable[[], Any]) -> Any:
        try:
            return call_next()
        except Exception as exc:
            if is_answer(exc):
                raise
            return func(exc, context)

    async def awaited(context: Context, call_next: Callable[[], Any]) -> Any:
        try:
            return await call_next()
        except Exception as exc:
            if is_answer(exc):
                raise
            result = func(exc, context)
            return await result if inspect.isawaitable(result) else result

    return Layer(None if inspect.iscoroutinefunction(func) else plain, awaited)


def needs_loop(layers: Sequence[Layer]) -> bool:
    """Whether a plain handler becomes a coroutine by running inside of these."""
    return any(layer.plain is None for layer in layers)


def wrap(
    func: Callable[..., Any], layers: Sequence[Layer], is_async: bool, context_of: ContextOf
) -> Callable[..., Any]:
    """A bound handler inside of layers, the first of them outermost."""
    if not layers:
        return func
    if not is_async and not needs_loop(layers):
        steps = [layer.plain for layer in layers if layer.plain is not None]

        def call(*args: Any) -> Any:
            return _compose(steps, context_of(*args), partial(func, *args))()

        return call
    inner = func if is_async else _as_coroutine(func)
    awaited = [layer.awaited for layer in layers]

    async def call_async(*args: Any) -> Any:
        return await _compose(awaited, context_of(*args), partial(inner, *args))()

    return call_async


def _compose(
    steps: Sequence[Step], context: Context, handler: Callable[[], Any]
) -> Callable[[], Any]:
    for step in reversed(steps):
        handler = partial(step, context, handler)
    return handler


def _as_coroutine(func: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any) -> Any:
        return func(*args)

    return call


def _around(middleware: Middleware, context: Context, call_next: Callable[[], Any]) -> Any:
    steps = middleware(context)
    answered, value = _begin(steps)
    if answered:
        return value
    try:
        result = call_next()
    except Exception as exc:
        return _throw(steps, exc)
    except BaseException:
        steps.close()
        raise
    return _send(steps, result)


async def _around_async(
    middleware: Middleware, context: Context, call_next: Callable[[], Any]
) -> Any:
    steps = middleware(context)
    answered, value = _begin(steps)
    if answered:
        return value
    try:
        result = await call_next()
    except Exception as exc:
        return _throw(steps, exc)
    except BaseException:  # cancelled: what the middleware has begun ends now
        steps.close()
        raise
    return _send(steps, result)


def _begin(steps: Generator[None, Any, Any]) -> tuple[bool, Any]:
    """Run up to the ``yield``; whether it returned before, and what."""
    try:
        next(steps)
    except StopIteration as stop:
        return True, stop.value
    return False, None


def _send(steps: Generator[None, Any, Any], result: Any) -> Any:
    try:
        steps.send(result)
    except StopIteration as stop:
        return result if stop.value is None else stop.value
    return _yielded_twice(steps)


def _throw(steps: Generator[None, Any, Any], exc: Exception) -> Any:
    try:
        steps.throw(exc)
    except StopIteration as stop:
        return stop.value
    return _yielded_twice(steps)


def _yielded_twice(steps: Generator[None, Any, Any]) -> Any:
    steps.close()
    name = getattr(steps, "__qualname__", repr(steps))
    raise RuntimeError(f"the middleware {name} yields more than once")
