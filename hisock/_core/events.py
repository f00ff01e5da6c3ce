"""The event API without I/O: registered handlers, and who gets a frame.

A frame with a command goes to its handler; else to whoever waits for it in ``recv``; else to the
wildcard handler. The server's ``message`` event gets every one as well. Both sides share the rules
and differ in what a handler is called with, so there is one table class and a small one per side.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from hisock._core.binding import (
    Callables,
    Mode,
    Signature,
    argument_count,
    bind_for_client,
    bind_for_server,
    cast_message,
    cast_of,
    with_dict,
)
from hisock._core.cache import MessageCache, payload_of
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Codec
from hisock._core.jobs import Done, Job, Peer, RawFrame, Runner
from hisock._core.waiting import Frame, Waiting
from hisock.framing import check_command

F = TypeVar("F", bound=Callable[..., Any])

SERVER_EVENTS: Final[dict[str, tuple[int, ...]]] = {
    "join": (1,),
    "leave": (1,),
    "name_change": (3,),
    "group_change": (3,),
    "message": (2, 3),
    "*": (3,),
}
CLIENT_EVENTS: Final[dict[str, tuple[int, ...]]] = {
    "client_connect": (1,),
    "client_disconnect": (1,),
    "force_disconnect": (0,),
    "*": (2,),
}


class Bound(NamedTuple):
    """A registered handler."""

    full: Callable[..., Any]
    empty: Callable[..., Any]
    mode: Mode


#: Reserved on clients that reconnect only: 2.0.2 programs use these names for commands.
RECONNECT_EVENTS: Final[dict[str, tuple[int, ...]]] = {"disconnect": (1,), "reconnect": (0,)}


class EventTable:
    """The handlers of one server or client, and the way of a frame to one of them.

    :param waiting: who waits in ``recv``.
    :param runner: runs the handlers that do not run on the loop, and hears of errors.
    :param codec: reads the messages that are structures.
    :param cache_size: frames to remember; below 0 none, 0 all of them.
    """

    events: dict[str, tuple[int, ...]]

    def __init__(
        self,
        waiting: Waiting,
        runner: Runner,
        codec: Codec,
        header_len: int,
        cache_size: int,
    ) -> None:
        self.waiting = waiting
        self.runner = runner
        self.codec = codec
        self._overridden: set[str] = set()
        self._commands: dict[str, Bound] = {}
        self._reserved: dict[str, tuple[Callable[..., Any], Mode]] = {}
        #: Called after each frame, when set.
        self.callback: Callable[[], Any] | None = None
        #: Takes the frames that nobody else does, when set.
        self.stream: Callable[[Frame], None] | None = None
        self.cache = MessageCache(cache_size, header_len)
        self._ending = False
        # What dispatch() looks into first: the handlers that are called on the loop. Empty while
        # every frame has to take the long way.
        self._fast: dict[str | None, Callable[..., Any]] = {}

    # -- registering

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
    ) -> Callable[[F], F]:
        """A decorator that registers a handler for a command or a reserved event.

        :param command: what it handles. A second handler for the same replaces the first.
        :param threaded: run it in a thread of its own.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :param concurrent: for ``async def``: handle what comes next without waiting for its end.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: when decorating: the handler takes a number of arguments that the event
            does not have, or asks for a type that no message can have.
        """
        check_command(command)

        def register(func: F) -> F:
            signature = Signature(func, sys._getframe(1).f_locals)
            mode = _mode_of(func, signature.name, threaded, concurrent)
            if mode in (Mode.ORDERED, Mode.CONCURRENT) and not self.runner.has_loop:
                raise TypeError(
                    f"handler {signature.name} is async, and a blocking client has no event loop; "
                    "use hisock.async_connect(), or a plain function"
                )
            self._register(func, signature, command, mode, override)
            return func

        return register

    def _register(
        self, func: Callable[..., Any], signature: Signature, name: str, mode: Mode, over: bool
    ) -> None:
        counts = self.events.get(name)
        if counts is None or over or name in self._overridden:
            self._commands[name] = Bound(*self._bind_command(func, signature, name), mode)
            if counts is not None:
                self._overridden.add(name)
                self._reserved.pop(name, None)
        else:
            count = argument_count(signature, name, counts, exact=True)
            self._reserved[name] = self._bind_event(func, signature, name, count), mode
        self.refresh()

    def refresh(self) -> None:
        """Decide anew which frames may take the short way."""
        self._fast.clear()
        if self._ending:
            return
        if self.callback is None and not self.cache.enabled and "message" not in self._reserved:
            self._fast.update(
                (name, bound.full)
                for name, bound in self._commands.items()
                if bound.mode is Mode.DIRECT
            )

    def end(self) -> None:
        """Let no handler begin any more, but for ``leave``; who waits for a frame still gets it."""
        self._ending = True
        self.refresh()

    def _bind_command(self, func: Callable[..., Any], signature: Signature, name: str) -> Callables:
        raise NotImplementedError

    def _bind_event(
        self, func: Callable[..., Any], signature: Signature, name: str, count: int
    ) -> Callable[..., Any]:
        raise NotImplementedError

    # -- frames

    def _bind_message(
        self, bound: Bound, client: ClientInfo | None, message: bytes | None
    ) -> Callable[[], Any]:
        """A handler with its arguments."""
        raise NotImplementedError

    def _fire_wildcard(
        self, client: ClientInfo | None, command: str | None, message: bytes | None
    ) -> None:
        raise NotImplementedError

    def handles(self, command: str) -> bool:
        """Whether there is a handler for a command."""
        return command in self._commands

    @property
    def has_wildcard(self) -> bool:
        return "*" in self._reserved

    def handle(self, client: ClientInfo | None, command: str | None, message: bytes | None) -> None:
        """Deliver one unreserved frame, the long way; errors of handlers are reported."""
        bound = None if command is None else self._commands.get(command)
        if self._ending:
            if bound is None:
                self.waiting.offer(Frame(command, message, None if client is None else client.ip))
            return
        taken = True
        if bound is not None and command is not None:
            self._run(bound, Job(self.runner, command, client), message)
        else:
            frame = Frame(command, message, client.ip if client is not None else None)
            taken = self.waiting.offer(frame)
            if not taken and self.stream is not None:
                self.stream(frame)
                taken = True
            elif not taken and "*" in self._reserved:
                self._fire_wildcard(client, command, message)
            elif not taken:
                self.waiting.keep(frame)
        self._observe(client, command, message, taken)

    def call(
        self, client: ClientInfo | None, command: str, message: bytes | None, done: Done
    ) -> None:
        """Deliver one call: like :meth:`handle`, and ``done`` gets what the handler returns."""
        bound = self._commands.get(command)
        if self._ending:
            done(None, ConnectionError("the server is closing"))
            return
        if bound is None:
            done(None, LookupError(f"there is no handler for {command!r}"))
        else:
            self._run(bound, Job(self.runner, command, client, done), message)
        self._observe(client, command, message, bound is not None)

    def _run(self, bound: Bound, job: Job, message: bytes | None) -> None:
        call = self._bind_message(bound, job.client, message)
        if bound.mode is Mode.DIRECT:
            job.run(call)
        elif bound.mode is Mode.THREAD:
            self.runner.in_thread(call, job, len(message or b""))
        else:
            self._start(call, job, bound.mode)

    def _start(self, call: Callable[[], Any], job: Job, mode: Mode) -> None:
        try:
            coroutine = call()
        except Exception as exc:  # the message does not fit
            job.finish(None, exc)
        else:
            self.runner.in_task(coroutine, job, mode is Mode.ORDERED)

    def _observe(
        self, client: ClientInfo | None, command: str | None, message: bytes | None, taken: bool
    ) -> None:
        if "message" in self._reserved:
            self.fire("message", client, command, message)
        if self.cache.enabled and command is not None:
            self.cache.remember(command, message, taken)

    def runs_elsewhere(self, event: str) -> bool:
        """Whether the handler of an event may still be running when :meth:`fire` returns."""
        handler = self._reserved.get(event)
        return handler is not None and handler[1] is not Mode.DIRECT

    def _call_back(self, command: str | None) -> None:
        assert self.callback is not None
        try:
            self.callback()
        except Exception as exc:
            self.runner.report(exc, command, None)

    def fire(self, event: str, *args: Any) -> None:
        """Call the handler of a reserved event, if there is one; its errors are reported."""
        handler = self._reserved.get(event)
        if handler is None or (self._ending and event != "leave"):
            return
        func, mode = handler
        client = args[0] if args and isinstance(args[0], ClientInfo) else None
        job = Job(self.runner, event, client)
        if mode is Mode.DIRECT:
            job.run(lambda: func(*args))
        elif mode is Mode.THREAD:
            last = args[-1] if args else None
            size = len(last) if isinstance(last, bytes) else 0
            self.runner.in_thread(lambda: func(*args), job, size)
        else:
            self._start(lambda: func(*args), job, mode)

    def _cast_command(self, command: str | None, cast: Any) -> Any:
        if command is None:
            return cast.empty()
        return command if cast.type in (None, str) else cast(command.encode())


def _mode_of(func: Callable[..., Any], name: str, threaded: bool, concurrent: bool) -> Mode:
    if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 - an object whose call is async
    ):
        if threaded:
            raise TypeError(f"handler {name} is async, it cannot be threaded as well")
        return Mode.CONCURRENT if concurrent else Mode.ORDERED
    if concurrent:
        raise TypeError(f"handler {name} is not async, concurrent does not apply to it")
    return Mode.THREAD if threaded else Mode.DIRECT


class ServerEvents(EventTable):
    """Handlers of a server: they are called with the client, and the message."""

    events = SERVER_EVENTS

    def _bind_command(self, func: Callable[..., Any], signature: Signature, name: str) -> Callables:
        count = argument_count(signature, name, (0, 1, 2), exact=False)
        if signature.wants_dict(0):
            func = with_dict(func)
        return bind_for_server(func, count, name, cast_of(signature, 1, count, self.codec))

    def _bind_event(
        self, func: Callable[..., Any], signature: Signature, name: str, count: int
    ) -> Callable[..., Any]:
        if signature.wants_dict(0):
            func = with_dict(func)
        if name not in ("message", "*"):
            return func
        message_cast = cast_of(signature, count - 1, count, self.codec)
        if count == 2:
            return lambda client, command, message: func(
                client, cast_message(command, message_cast, payload_of(command, message))
            )
        command_cast = cast_of(signature, 1, count, self.codec)

        def call(client: ClientInfo, command: str | None, message: bytes | None) -> Any:
            value = cast_message(command, message_cast, message)
            return func(client, self._cast_command(command, command_cast), value)

        return call

    def _bind_message(
        self, bound: Bound, client: ClientInfo | None, message: bytes | None
    ) -> Callable[[], Any]:
        return lambda: bound.full(client, message) if message else bound.empty(client)

    def _fire_wildcard(
        self, client: ClientInfo | None, command: str | None, message: bytes | None
    ) -> None:
        self.fire("*", client, command, message)

    def dispatch(self, peer: Peer, frames: Iterator[RawFrame]) -> None:
        """Deliver a batch of frames of one peer, in order."""
        get = self._fast.get
        while True:
            command: str | None = None
            try:
                for command, message in frames:
                    if message:
                        handler = get(command)
                        if handler is not None:
                            handler(peer.info, message)
                            continue
                    if command is None:
                        peer.take_raw(message or b"")
                    else:
                        self.handle(peer.info, command, message)
                    if self.callback is not None:
                        self._call_back(command)
                    if peer.busy:
                        peer.defer(frames)
                        return
                return
            except Exception as exc:
                self.runner.report(exc, command, peer.info)


class ClientEvents(EventTable):
    """Handlers of a client: they are called with the message."""

    events = CLIENT_EVENTS

    def _bind_command(self, func: Callable[..., Any], signature: Signature, name: str) -> Callables:
        count = argument_count(signature, name, (0, 1), exact=False)
        return bind_for_client(func, count, name, cast_of(signature, 0, count, self.codec))

    def _bind_event(
        self, func: Callable[..., Any], signature: Signature, name: str, count: int
    ) -> Callable[..., Any]:
        if name != "*":
            return with_dict(func) if signature.wants_dict(0) else func
        command_cast = cast_of(signature, 0, count, self.codec)
        message_cast = cast_of(signature, 1, count, self.codec)

        def call(command: str | None, message: bytes | None) -> Any:
            value = cast_message(command, message_cast, message)
            return func(self._cast_command(command, command_cast), value)

        return call

    def _bind_message(
        self, bound: Bound, client: ClientInfo | None, message: bytes | None
    ) -> Callable[[], Any]:
        return lambda: bound.full(message) if message else bound.empty()

    def _fire_wildcard(
        self, client: ClientInfo | None, command: str | None, message: bytes | None
    ) -> None:
        self.fire("*", command, message)

    def dispatch(self, peer: Peer, frames: Iterator[RawFrame]) -> None:
        """Deliver a batch of frames of the server, in order."""
        get = self._fast.get
        while True:
            command: str | None = None
            try:
                for command, message in frames:
                    if message:
                        handler = get(command)
                        if handler is not None:
                            handler(message)
                            continue
                    if command is None:
                        peer.take_raw(message or b"")
                    else:
                        self.handle(None, command, message)
                    if self.callback is not None:
                        self._call_back(command)
                    if peer.busy:
                        peer.defer(frames)
                        return
                return
            except Exception as exc:
                self.runner.report(exc, command, None)
