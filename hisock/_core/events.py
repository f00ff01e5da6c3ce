"""The event API without I/O: from a frame to its handler.

A frame with a command goes to its handler; if there is none, to a waiting ``recv``; if there is
none, to the wildcard handler. The server's ``message`` event gets every frame as well. The two
sides differ only in the arguments of handlers: each has a small subclass of the table here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from weakref import ref

from hisock._core.account import arguments_size, frame_size
from hisock._core.binding import Binding
from hisock._core.cache import MessageCache
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Codec
from hisock._core.handlers import CommandHandler, HandlerTable, Mode
from hisock._core.jobs import ENDS_PROGRAM, Done, Job, Origin, Runner, as_error
from hisock._core.unhandled import Unhandled, no_handler_text
from hisock._core.waiting import ReceivedFrame, Waiting
from hisock.framing import check_command

F = TypeVar("F", bound=Callable[..., Any])


class EventTable:
    """Delivers each frame of one server or client to a handler.

    :param binding: binds handlers to the arguments of their side.
    :param waiting: the waiters of ``recv``.
    :param runner: runs the handlers that do not run on the loop, and reports errors.
    :param codec: decodes messages that are structures.
    :param cache_size: frames to remember; below 0 none, 0 all of them.
    :param logger: logs commands that have no handler.
    """

    def __init__(
        self,
        binding: Binding,
        waiting: Waiting,
        runner: Runner,
        codec: Codec,
        header_len: int,
        cache_size: int,
        logger: logging.Logger,
    ) -> None:
        self.waiting = waiting
        self.runner = runner
        self.codec = codec
        handlers = self.handlers = HandlerTable(binding, runner.has_loop, _weakly(self))
        #: If set, called after each frame.
        self.callback: Callable[[], Any] | None = None
        #: If set, takes the frames that have neither a handler nor a waiter.
        self.stream: Callable[[ReceivedFrame], None] | None = None
        #: Takes such a frame back, ahead of those that it holds.
        self.stream_first: Callable[[ReceivedFrame], None] | None = None
        self.cache = MessageCache(cache_size, header_len)
        #: The commands that were not handled.
        self.unhandled = Unhandled(logger, handlers.commands)
        #: Whether unhandled commands are errors.
        self.strict = False
        self._ending = False
        #: The fast path of dispatch(): handlers that are called on the loop. It is empty while an
        #: observer has to see every frame.
        self.plain_handlers: dict[str | None, Callable[..., Any]] = {}
        #: The same by the bytes of the command, for calls.
        self.plain: dict[bytes, Callable[..., Any]] = {}

    # -- registering

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
        replace: bool = False,
    ) -> Callable[[F], F]:
        """A decorator that registers a handler for a command or a reserved event.

        :param command: the command or the reserved event.
        :param threaded: run it in a thread.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :param concurrent: for ``async def``: handle the next frames without waiting for its end.
        :param replace: replace a handler that is registered already without a warning.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: when decorating: the handler takes a number of arguments that the event
            does not have, or asks for a type that no message can have.
        """
        if callable(command):
            raise TypeError('a handler is registered for a command: write @....on("command")')
        check_command(command)

        def register(func: F) -> F:
            self.handlers.register(
                func,
                command,
                sys._getframe(1).f_locals,
                threaded=threaded,
                override=override,
                concurrent=concurrent,
                replace=replace,
            )
            return func

        return register

    def refresh(self) -> None:
        """Rebuild the fast path after a change of handlers or observers."""
        self.plain_handlers.clear()
        self.plain.clear()
        observed = self.callback is not None or self.cache.enabled
        if not self._ending and not observed and "message" not in self.handlers.reserved:
            direct = self.handlers.direct()
            self.plain_handlers.update(direct)
            self.plain.update({name.encode(): full for name, full in direct.items()})

    def end(self) -> None:
        """Start no more handlers except ``leave``; waiters still get their frames."""
        self._ending = True
        self.refresh()

    @property
    def described(self) -> dict[str, Mapping[str, Any]]:
        """See :attr:`hisock._core.inspection.Inspection.funcs`."""
        return self.handlers.described

    def handles(self, command: str) -> bool:
        """Whether there is a handler for a command."""
        return command in self.handlers.commands

    @property
    def has_wildcard(self) -> bool:
        return "*" in self.handlers.reserved

    def runs_elsewhere(self, event: str) -> bool:
        """Whether the handler of an event may still be running when it has been fired."""
        handler = self.handlers.reserved.get(event)
        while handler is not None and handler.mode is Mode.DIRECT:
            handler = handler.also
        return handler is not None

    # -- frames

    def _bind_message(
        self, handler: CommandHandler, client: ClientInfo | None, message: bytes | None
    ) -> Callable[[], Any]:
        """Bind a handler to its arguments."""
        raise NotImplementedError

    def _fire_frame(
        self,
        event: str,
        origin: Origin,
        command: str | None,
        message: bytes | None,
        done: Done | None = None,
    ) -> None:
        """Call the handler of ``message`` or ``*``, if there is one; see :meth:`_fire`."""
        raise NotImplementedError

    def handle(self, origin: Origin, command: str | None, message: bytes | None) -> None:
        """Deliver one unreserved frame by the slow path; errors of handlers are reported."""
        handler = None if command is None else self.handlers.commands.get(command)
        client = origin.info
        if handler is None or command is None:
            source = None if client is None else client.ip
            frame = ReceivedFrame(command, message, source, origin=origin)
            taken = self._deliver_unhandled(origin, frame)
        elif self._ending:
            return
        else:
            self._run(handler, Job(self.runner, command, origin, client), message)
            taken = True
        self._observe(origin, command, message, taken)

    def deliver(
        self,
        origin: Origin,
        command: str,
        message: bytes | None,
        done: Done,
        observes: Callable[[], Done | None],
    ) -> None:
        """Like :meth:`handle`, and ``done`` hears of the end of the handler, if there is one.

        :param observes: where there are observers, gives what hears of the end of each handler of
            ``message``; ``None`` if they have heard of this frame before.
        """
        handler = self.handlers.commands.get(command)
        if handler is None:
            self.handle(origin, command, message)
            done(None, None)
        else:
            observed = observes() if self._observed() else None
            self._run(handler, Job(self.runner, command, origin, origin.info, done), message)
            if observed is not None:
                self._observe(origin, command, message, True, observed)

    def _deliver_unhandled(self, origin: Origin, frame: ReceivedFrame) -> bool:
        """Deliver a frame that has no handler; returns whether a waiter or a stream took it."""
        if self.waiting.offer(frame):
            return True
        if self._ending:
            return False
        if self.stream is not None:
            self.stream(frame)
            return True
        if self.has_wildcard:
            self._fire_frame("*", origin, frame.command, frame.message)
        else:
            self.waiting.keep(frame, self._observed())
            self.note_unhandled()
        return False

    def _observed(self) -> bool:
        return self.cache.enabled or "message" in self.handlers.reserved

    def note_unhandled(self) -> None:
        """Report commands that were not taken in time. Called periodically."""
        for command in self.waiting.unhandled():
            text = self.unhandled.note(command)
            if self.strict:
                self.runner.report(LookupError(text), command, None)

    def put_back(self, frame: ReceivedFrame) -> None:
        """Deliver a frame again, in its order, that a waiter got just when it stopped waiting."""
        if self.waiting.offer(frame):
            return
        if self.stream_first is not None:
            self.stream_first(frame)
        elif self.has_wildcard and frame.origin is not None and not self._ending:
            self._fire_frame("*", frame.origin, frame.command, frame.message)
        else:
            self.waiting.keep(frame)

    def call(
        self,
        origin: Origin,
        command: str,
        message: bytes | None,
        done: Done,
        runs: Callable[[Callable[[], Any]], None] | None = None,
    ) -> None:
        """Deliver one call: like :meth:`handle`, and ``done`` gets the handler's result.

        :param runs: gets a function that cancels the handler; see :class:`Job`.
        """
        handler = self.handlers.commands.get(command)
        if self._ending:
            done(None, ConnectionError("the server is closing"))
            return
        if handler is None:
            done(None, self._no_handler(command))
        else:
            self._run(handler, Job(self.runner, command, origin, origin.info, done, runs), message)
        self._observe(origin, command, message, handler is not None)

    def _no_handler(self, command: str) -> LookupError:
        """The answer to a call without a handler, which is counted and logged."""
        text = self.unhandled.note(command)
        # A suggestion would tell peers which commands there are, so only `strict` sends it.
        return LookupError(text if self.strict else no_handler_text(command))

    def _run(self, handler: CommandHandler, job: Job, message: bytes | None) -> None:
        call = self._bind_message(handler, job.client, message)
        if handler.mode is Mode.DIRECT:
            job.run(call)
        else:
            self._run_elsewhere(call, job, handler.mode, frame_size(job.command, message))

    def _run_elsewhere(self, call: Callable[[], Any], job: Job, mode: Mode, size: int) -> None:
        if mode is Mode.THREAD:
            self.runner.in_thread(call, job, size)
        else:
            self._start(call, job._replace(size=size), mode is Mode.ORDERED)

    def _start(self, call: Callable[[], Any], job: Job, ordered: bool) -> None:
        try:
            coroutine = call()
        except Exception as exc:  # the message does not fit
            job.finish(None, exc)
        else:
            self.runner.in_task(coroutine, job, ordered)

    def _observe(
        self,
        origin: Origin,
        command: str | None,
        message: bytes | None,
        taken: bool,
        done: Done | None = None,
    ) -> None:
        if self._ending:
            return
        if "message" in self.handlers.reserved:
            self._fire_frame("message", origin, command, message, done)
        if self.cache.enabled and command is not None:
            self.cache.remember(command, message, taken)

    def call_back(self, command: str | None) -> None:
        """Call the program's callback; its errors are reported for that command or event."""
        assert self.callback is not None
        try:
            self.callback()
        except ENDS_PROGRAM:
            raise
        except BaseException as exc:
            self.runner.report(as_error(exc), command, None)

    def _fire(
        self,
        event: str,
        origin: Origin | None,
        args: tuple[Any, ...],
        done: Done | None = None,
    ) -> None:
        """Call the handlers of a reserved event, if there are any; their errors are reported.

        :param done: told of the end of each of them.
        """
        handler = self.handlers.reserved.get(event)
        if handler is None or (self._ending and event != "leave"):
            return
        client = None if origin is None else origin.info
        job = Job(self.runner, event, origin, client, done, is_event=True)
        while handler is not None:
            call = partial(handler.func, *args)
            if handler.mode is Mode.DIRECT:
                job.run(call)
            else:
                self._run_elsewhere(call, job, handler.mode, arguments_size(args))
            handler = handler.also


def _weakly(table: EventTable) -> Callable[[], None]:
    """What refreshes a table. Its handlers have that, so that it may not keep the table."""
    weak = ref(table)

    def refresh() -> None:
        found = weak()
        if found is not None:
            found.refresh()

    return refresh
