"""The event API without I/O: registered handlers, and who gets a frame.

A frame with a command goes to its handler; else to whoever waits for it in ``recv``; else to the
wildcard handler. The server's ``message`` event gets every one as well. Both sides share the rules
and differ in what a handler is called with, so there is one table class and a small one per side.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from hisock.binding import (
    Bound,
    Signature,
    argument_count,
    bind_for_client,
    bind_for_server,
    cast_message,
    cast_of,
    with_dict,
)
from hisock.casting import Codec
from hisock.clients import ClientInfo
from hisock.framing import build_header, check_command
from hisock.waiting import Frame, Waiting

F = TypeVar("F", bound=Callable[..., Any])
RawFrame = tuple[str | None, bytes | None]
#: Told of an error in a handler: the error, the command or event, the client if there is one.
Report = Callable[[Exception, "str | None", "ClientInfo | None"], None]
#: Runs a handler elsewhere: the handler, its arguments, the command it is for.
Spawn = Callable[[Callable[..., Any], tuple[Any, ...], str], None]

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


class MessageCacheMember:
    """One cached frame.

    :ivar header: its header, bytes.
    :ivar content: the message if a handler or a ``recv`` took the frame, else the whole payload.
    :ivar called: whether one did.
    :ivar command: its command.
    """

    __slots__ = ("called", "command", "content", "header")

    def __init__(self, message_dict: dict[str, Any]) -> None:
        self.header: bytes | None = message_dict.get("header")
        self.content: bytes | None = message_dict.get("content")
        self.called: bool | None = message_dict.get("called")
        self.command: str | None = message_dict.get("command")

    def __repr__(self) -> str:
        return f"<MessageCacheMember: {self.content!r}>"


def payload_of(command: str | None, message: bytes | None) -> bytes:
    """The payload that a frame was read from."""
    if command is None:
        return message or b""
    payload = b"$CMD$" + command.encode()
    return payload if message is None else payload + b"$MSG$" + message


class EventTable:
    """The handlers of one server or client, and the way of a frame to one of them.

    :param waiting: who waits in ``recv``.
    :param report: told of every error in a handler.
    :param spawn: runs ``threaded`` handlers.
    :param codec: reads the messages that are structures.
    :param cache_size: frames to remember; below 0 none, 0 all of them.
    """

    events: dict[str, tuple[int, ...]]

    def __init__(
        self,
        waiting: Waiting,
        report: Report,
        spawn: Spawn,
        codec: Codec,
        header_len: int,
        cache_size: int,
    ) -> None:
        self.waiting = waiting
        self.report = report
        self.spawn = spawn
        self.codec = codec
        self._header_len = header_len
        self._overridden: set[str] = set()
        self._commands: dict[str, Bound] = {}
        self._reserved: dict[str, Callable[..., Any]] = {}
        #: Called after each frame, when set.
        self.callback: Callable[[], Any] | None = None
        self.cache: deque[MessageCacheMember] | None = None
        if cache_size >= 0:
            self.cache = deque(maxlen=cache_size or None)
        # What dispatch() looks into first; empty while every frame has to take the long way.
        self._fast: dict[str | None, Callable[..., Any]] = {}

    # -- registering

    def on(self, command: str, threaded: bool = False, override: bool = False) -> Callable[[F], F]:
        """A decorator that registers a handler for a command or a reserved event.

        :param command: what it handles. A second handler for the same replaces the first.
        :param threaded: run it in a thread of its own.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: when decorating: the handler takes a number of arguments that the event
            does not have, or asks for a type that no message can have.
        """
        check_command(command)

        def register(func: F) -> F:
            namespace = sys._getframe(1).f_locals
            self._register(func, Signature(func, namespace), command, threaded, override)
            return func

        return register

    def _register(
        self, func: Callable[..., Any], signature: Signature, name: str, threaded: bool, over: bool
    ) -> None:
        if asyncio.iscoroutinefunction(func):
            raise TypeError(f"handler {signature.name} is async; only plain functions are called")
        target = self._in_thread(func, name) if threaded else func
        counts = self.events.get(name)
        if counts is None or over or name in self._overridden:
            self._commands[name] = self._bind_command(target, signature, name)
            if counts is not None:
                self._overridden.add(name)
                self._reserved.pop(name, None)
        else:
            count = argument_count(signature, name, counts, exact=True)
            self._reserved[name] = self._bind_event(target, signature, name, count)
        self.refresh()

    def _in_thread(self, func: Callable[..., Any], command: str) -> Callable[..., Any]:
        spawn = self.spawn

        def call(*args: Any) -> None:
            spawn(func, args, command)

        return call

    def refresh(self) -> None:
        """Decide anew which frames may take the short way."""
        every_frame = self.callback is not None or self.cache is not None
        if every_frame or "message" in self._reserved:
            self._fast.clear()
        else:
            self._fast.update((name, bound.full) for name, bound in self._commands.items())

    def _bind_command(self, func: Callable[..., Any], signature: Signature, name: str) -> Bound:
        raise NotImplementedError

    def _bind_event(
        self, func: Callable[..., Any], signature: Signature, name: str, count: int
    ) -> Callable[..., Any]:
        raise NotImplementedError

    # -- frames

    def _call(self, client: ClientInfo | None, bound: Bound, message: bytes | None) -> Any:
        raise NotImplementedError

    def _fire_wildcard(
        self, client: ClientInfo | None, command: str | None, message: bytes | None
    ) -> None:
        raise NotImplementedError

    def handle(self, client: ClientInfo | None, command: str | None, message: bytes | None) -> None:
        """Deliver one unreserved frame, the long way; errors of handlers are reported."""
        bound = None if command is None else self._commands.get(command)
        taken = True
        if bound is not None:
            try:
                self._call(client, bound, message)
            except Exception as exc:
                self.report(exc, command, client)
        else:
            frame = Frame(command, message)
            taken = self.waiting.offer(frame)
            if not taken and "*" in self._reserved:
                self._fire_wildcard(client, command, message)
            elif not taken:
                self.waiting.keep(frame)
        self._observe(client, command, message, taken)

    def _observe(
        self, client: ClientInfo | None, command: str | None, message: bytes | None, taken: bool
    ) -> None:
        if "message" in self._reserved:
            self.fire("message", client, command, message)
        if self.cache is not None and command is not None:
            self._remember(command, message, taken)
        if self.callback is not None:
            try:
                self.callback()
            except Exception as exc:
                self.report(exc, command, client)

    def _remember(self, command: str, message: bytes | None, called: bool) -> None:
        payload = payload_of(command, message)
        assert self.cache is not None
        self.cache.append(
            MessageCacheMember(
                {
                    "header": build_header(len(payload), self._header_len),
                    "content": message if called else payload,
                    "called": called,
                    "command": command,
                }
            )
        )

    def fire(self, event: str, *args: Any) -> None:
        """Call the handler of a reserved event, if there is one; its errors are reported."""
        handler = self._reserved.get(event)
        if handler is None:
            return
        try:
            handler(*args)
        except Exception as exc:
            client = args[0] if args and isinstance(args[0], ClientInfo) else None
            self.report(exc, event, client)

    def get_cache(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all of them, one, or a slice."""
        members = list(self.cache or ())
        return members if idx is None else members[idx]

    def _cast_command(self, command: str | None, cast: Any) -> Any:
        if command is None:
            return cast.empty()
        return command if cast.type in (None, str) else cast(command.encode())


class ServerEvents(EventTable):
    """Handlers of a server: they are called with the client, and the message."""

    events = SERVER_EVENTS

    def _bind_command(self, func: Callable[..., Any], signature: Signature, name: str) -> Bound:
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

    def _call(self, client: ClientInfo | None, bound: Bound, message: bytes | None) -> Any:
        return bound.full(client, message) if message else bound.empty(client)

    def _fire_wildcard(
        self, client: ClientInfo | None, command: str | None, message: bytes | None
    ) -> None:
        self.fire("*", client, command, message)

    def dispatch(
        self, peer: Any, frames: Iterator[RawFrame], raw: Callable[[Any, bytes], None]
    ) -> None:
        """Deliver a batch of frames of one peer, in order.

        :param peer: has the client's current ``info``, which handlers may change on the way.
        :param raw: takes the frames without a command.
        """
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
                        raw(peer, message or b"")
                    else:
                        self.handle(peer.info, command, message)
                return
            except Exception as exc:
                self.report(exc, command, peer.info)


class ClientEvents(EventTable):
    """Handlers of a client: they are called with the message."""

    events = CLIENT_EVENTS

    def _bind_command(self, func: Callable[..., Any], signature: Signature, name: str) -> Bound:
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

    def _call(self, client: ClientInfo | None, bound: Bound, message: bytes | None) -> Any:
        return bound.full(message) if message else bound.empty()

    def _fire_wildcard(
        self, client: ClientInfo | None, command: str | None, message: bytes | None
    ) -> None:
        self.fire("*", command, message)

    def dispatch(self, frames: Iterator[RawFrame], raw: Callable[[bytes], None]) -> None:
        """Deliver a batch of frames, in order.

        :param raw: takes the frames without a command.
        """
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
                        raw(message or b"")
                    else:
                        self.handle(None, command, message)
                return
            except Exception as exc:
                self.report(exc, command, None)
