"""The handlers of one server or client, and how one is registered."""

from __future__ import annotations

import enum
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from hisock._core.binding import Binding, Callables
from hisock._core.inclusions import Inclusions
from hisock._core.middleware import Layer, Middleware, layer_of, needs_loop, wrap
from hisock._core.mistakes import require_no_method
from hisock._core.routes import Part, Route, require_part
from hisock._core.signature import Signature


class Mode(enum.Enum):
    """How a handler runs."""

    DIRECT = enum.auto()  #: called on the loop
    THREAD = enum.auto()  #: called in a thread of its own
    ORDERED = enum.auto()  #: a coroutine; the client's next frames wait for its end
    CONCURRENT = enum.auto()  #: a coroutine that nothing waits for


class CommandHandler(NamedTuple):
    """A handler of a command; see :class:`hisock._core.binding.Callables`."""

    full: Callable[..., Any]
    empty: Callable[..., Any]
    mode: Mode


class EventHandler(NamedTuple):
    """A handler of a reserved event.

    :ivar also: the next handler of the same event, which a router brought.
    """

    func: Callable[..., Any]
    mode: Mode
    also: EventHandler | None = None


class Registration(NamedTuple):
    """A handler as it was registered, before anything runs around it.

    :ivar bound: how it is called; for an event, its ``full`` and ``empty`` are one.
    :ivar layers: what runs around it alone, outermost first.
    """

    bound: Callables
    mode: Mode
    layers: tuple[Layer, ...]


class HandlerTable:
    """What is registered, by command and by reserved event.

    :param binding: binds handlers to the arguments of their side.
    :param has_loop: whether async handlers can run.
    :param changed: called when a handler is added, or runs inside of something new.
    :ivar commands: the handlers of unreserved commands, and of reserved names that one overrode.
    :ivar reserved: the handlers of reserved events.
    """

    def __init__(
        self, binding: Binding, has_loop: bool, changed: Callable[[], object] = lambda: None
    ) -> None:
        self._binding = binding
        self._changed = changed
        self._has_loop = has_loop
        self._overridden: set[str] = set()
        #: What runs around every handler, outermost first.
        self._layers: list[Layer] = []
        #: What measures them all, around everything else; mostly nothing does.
        self._watch: tuple[Layer, ...] = ()
        self._registered: dict[str, list[Registration]] = {}
        self._inclusions = Inclusions()
        #: Where the handler of each name is written.
        self._places: dict[str, str] = {}
        #: What programs may know of each handler, as 2.0.2 tells it.
        self.described: dict[str, Mapping[str, Any]] = {}
        self.commands: dict[str, CommandHandler] = {}
        self.reserved: dict[str, EventHandler] = {}

    def register(
        self,
        func: Callable[..., Any],
        name: str,
        namespace: Mapping[str, Any],
        *,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
        replace: bool = False,
        also: bool = False,
        layers: tuple[Layer, ...] = (),
    ) -> None:
        """Add a handler; :meth:`hisock._core.events.EventTable.on` explains the parameters.

        :param namespace: local names that its annotations may use.
        :param also: of an event, beside the handlers that it has.
        :param layers: what runs around it, outermost first.
        :raises TypeError: it does not fit what it is to handle.
        """
        signature = Signature(func, namespace)
        require_no_method(signature, namespace)
        mode = mode_of(func, signature.name, threaded, concurrent)
        if mode in (Mode.ORDERED, Mode.CONCURRENT):
            self._require_loop(f"handler {signature.name} is async")
        is_event = self.is_event(name) and not override
        bind = self._binding.event if is_event else self._binding.command
        bound = bind(func, signature, name)
        if not isinstance(bound, Callables):
            bound = Callables(bound, bound)
        self._add(name, Registration(bound, mode, layers), is_event, also)
        self._note_second(name, signature, replace or (is_event and also))
        self._describe(name, func, signature, threaded, override)
        for note in signature.notes:
            # The line that the decorator stands on: it called a closure, which called this.
            warnings.warn(note, stacklevel=3)

    def _describe(
        self, name: str, func: Any, signature: Signature, threaded: bool, override: bool
    ) -> None:
        self.described[name] = MappingProxyType(
            {
                "func": func,
                "name": signature.name.rpartition(".")[2],
                "type_hint": signature.annotations(),
                "threaded": threaded,
                "override": override,
            }
        )

    def is_event(self, name: str) -> bool:
        """Whether a name is that of a reserved event here, which nobody overrode."""
        return name in self._binding.events and name not in self._overridden

    def include(self, part: Part, prefix: str) -> list[Route]:
        """Add what a router, or an object with handlers, has; returns its ticks.

        :raises TypeError: it is neither, or one of its handlers does not fit.
        :raises ValueError: it is included already; see :class:`Inclusions`.
        """
        require_part(part)
        ticks = []
        for name, route in self._inclusions.new(part, prefix, self.is_event):
            if name is None:
                ticks.append(route)
                continue
            namespace, layers = route.namespace, route.layers
            self.register(route.func, name, namespace, also=True, layers=layers, **route.options)
        return ticks

    def use(self, middleware: Middleware) -> None:
        """Run a middleware around every handler, inside of those that were added before.

        :raises TypeError: it is none, or async where no loop runs.
        """
        layer = layer_of(middleware)
        if layer.plain is None:
            self._require_loop("the middleware is async")
        layers = [*self._layers, layer]
        # All before the first is published: an error leaves everything as it was.
        ready = {
            name: self._ready(name, handlers, layers) for name, handlers in self._registered.items()
        }
        self._layers = layers
        for name, finished in ready.items():
            self._publish(name, finished)
        self._changed()

    def watch(self, layer: Layer | None) -> None:
        """Run a layer around everything else, for as long as somebody looks; ``None`` ends that."""
        self._watch = () if layer is None else (layer,)
        for name, handlers in self._registered.items():
            self._publish(name, self._ready(name, handlers, self._layers))
        self._changed()

    def _require_loop(self, what: str) -> None:
        if not self._has_loop:
            raise TypeError(
                f"{what}, and a blocking client has no event loop; "
                "use hisock.async_connect(), or a plain function"
            )

    def _note_second(self, name: str, signature: Signature, meant: bool) -> None:
        before = self._places.get(name)
        if before not in (None, signature.place) and not meant:
            signature.notes.append(
                f"{name!r} had a handler already, {before}, and {signature.place} replaces it; "
                "say replace=True if that is meant"
            )
        self._places[name] = signature.place

    def _add(self, name: str, registration: Registration, is_event: bool, also: bool) -> None:
        if needs_loop(registration.layers):
            self._require_loop("what runs around the handler is async")
        before = self._registered.get(name, []) if is_event and also else []
        handlers = [*before, registration]
        ready = self._ready(name, handlers, self._layers)
        self._registered[name] = handlers
        if not is_event and name in self._binding.events:
            self._overridden.add(name)
            self.reserved.pop(name, None)
        self._publish(name, ready)
        self._changed()

    def _ready(
        self, name: str, handlers: list[Registration], layers: list[Layer]
    ) -> list[CommandHandler]:
        """The handlers of a name, inside of what runs around them.

        :raises TypeError: one of them cannot run inside of that.
        """
        return [self._finished(name, each, layers) for each in handlers]

    def _publish(self, name: str, ready: list[CommandHandler]) -> None:
        if not self.is_event(name):
            self.commands[name] = ready[0]
            return
        handler: EventHandler | None = None
        for each in reversed(ready):
            handler = EventHandler(each.full, each.mode, handler)
        assert handler is not None, "what is registered has a handler"
        self.reserved[name] = handler

    def _finished(
        self, name: str, registration: Registration, outer: list[Layer]
    ) -> CommandHandler:
        (full, empty), mode, own = registration
        layers = [*self._watch, *outer, *own]
        if not layers:
            return CommandHandler(full, empty, mode)
        is_async = mode in (Mode.ORDERED, Mode.CONCURRENT)
        if not is_async and needs_loop(layers):
            if mode is Mode.THREAD:
                raise TypeError(
                    f"the handler of {name!r} is threaded, and what runs around it is async"
                )
            mode = Mode.ORDERED
        context_of = partial(self._binding.context, name)
        return CommandHandler(
            wrap(full, layers, is_async, context_of),
            wrap(empty, layers, is_async, context_of),
            mode,
        )

    def direct(self) -> dict[str, Callable[..., Any]]:
        """What is called on the loop for a message that is not empty, by command."""
        return {
            name: handler.full
            for name, handler in self.commands.items()
            if handler.mode is Mode.DIRECT
        }


def mode_of(func: Callable[..., Any], name: str, threaded: bool, concurrent: bool) -> Mode:
    """How a handler runs.

    :raises TypeError: it is async and ``threaded``, or ``concurrent`` and not async.
    """
    if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 - an object whose call is async
    ):
        if threaded:
            raise TypeError(f"handler {name} is async, it cannot be threaded as well")
        return Mode.CONCURRENT if concurrent else Mode.ORDERED
    if concurrent:
        raise TypeError(f"handler {name} is not async, concurrent does not apply to it")
    return Mode.THREAD if threaded else Mode.DIRECT
