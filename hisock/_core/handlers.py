"""The handlers of one server or client, and how one is registered."""

from __future__ import annotations

import enum
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hisock._core.binding import Binding
from hisock._core.mistakes import require_no_method
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
    """A handler of a reserved event."""

    func: Callable[..., Any]
    mode: Mode


class HandlerTable:
    """What is registered, by command and by reserved event.

    :param binding: binds handlers to the arguments of their side.
    :param has_loop: whether async handlers can run.
    :ivar commands: the handlers of unreserved commands, and of reserved names that one overrode.
    :ivar reserved: the handlers of reserved events.
    """

    def __init__(self, binding: Binding, has_loop: bool) -> None:
        self._binding = binding
        self._has_loop = has_loop
        self._overridden: set[str] = set()
        #: Where the handler of each name is written.
        self._places: dict[str, str] = {}
        self.commands: dict[str, CommandHandler] = {}
        self.reserved: dict[str, EventHandler] = {}

    def register(
        self,
        func: Callable[..., Any],
        name: str,
        namespace: Mapping[str, Any],
        *,
        threaded: bool,
        override: bool,
        concurrent: bool,
        replace: bool,
    ) -> None:
        """Add a handler; :meth:`hisock._core.events.EventTable.on` explains the parameters.

        :param namespace: local names that its annotations may use.
        :raises TypeError: it does not fit what it is to handle.
        """
        signature = Signature(func, namespace)
        require_no_method(signature, namespace)
        mode = mode_of(func, signature.name, threaded, concurrent)
        if mode in (Mode.ORDERED, Mode.CONCURRENT) and not self._has_loop:
            raise TypeError(
                f"handler {signature.name} is async, and a blocking client has no event loop; "
                "use hisock.async_connect(), or a plain function"
            )
        self._add(func, name, signature, mode, override)
        before = self._places.get(name)
        if before not in (None, signature.place) and not replace:
            signature.notes.append(
                f"{name!r} had a handler already, {before}, and {signature.place} replaces it; "
                "say replace=True if that is meant"
            )
        self._places[name] = signature.place
        for note in signature.notes:
            # The line that the decorator stands on: it called a closure, which called this.
            warnings.warn(note, stacklevel=3)

    def _add(
        self,
        func: Callable[..., Any],
        name: str,
        signature: Signature,
        mode: Mode,
        override: bool,
    ) -> None:
        is_event = name in self._binding.events
        if is_event and not override and name not in self._overridden:
            self.reserved[name] = EventHandler(self._binding.event(func, signature, name), mode)
            return
        self.commands[name] = CommandHandler(*self._binding.command(func, signature, name), mode)
        if is_event:
            self._overridden.add(name)
            self.reserved.pop(name, None)

    def direct(self) -> dict[str | None, Callable[..., Any]]:
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
