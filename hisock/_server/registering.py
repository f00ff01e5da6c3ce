"""What a program registers with a server: handlers, ticks, routers, middleware, decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hisock._core.middleware import Middleware
from hisock._core.routes import Part
from hisock._core.server_events import ServerEvents
from hisock._server.authentication import bind_authenticate, bind_authorize_change
from hisock._server.hub import Hub
from hisock._server.ticks import Tick

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class Registering:
    """The registering part of a server. Most of it is used as decorators."""

    _hub: Hub
    _events: ServerEvents

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
        replace: bool = False,
    ) -> Callable[[F], F]:
        """Register a handler: ``@server.on("command")``.

        Handlers of commands take ``(client, message)``, ``(client)`` or nothing; the annotation of
        the message is the type that it is cast to. The return value of a handler is the reply if
        the command came as a call. The reserved events are ``join(client)``,
        ``leave(client)``, ``name_change(client, old, new)``, ``group_change(client, old, new)``,
        ``message(client, command, message)`` or ``message(client, raw)``, and
        ``*(client, command, message)`` for commands that have no handler.

        :param command: the command or the reserved event.
        :param threaded: run the handler in a thread, where it may block. A client occupies at most
            64 threads at a time, all clients together 256; further frames wait. Default ``False``.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
            Default ``False``.
        :param concurrent: for ``async def``: handle the client's next frames without waiting for
            its end. Default ``False``.
        :param replace: replace a handler that is registered already without a warning. Default
            ``False``.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._events.on(command, threaded, override, concurrent, replace)

    def every(self, interval: float, once: bool = False) -> Callable[[F], F]:
        """Register a tick: ``@server.every(1 / 20)``.

        The function, plain or async, takes the seconds since its last call, or nothing. Ticks do
        not drift, and missed ones are skipped; :class:`TickStats` counts them.

        :param interval: seconds between two ticks, more than 0.
        :param once: of several servers that are a cluster, only one has this tick: the one that
            leads. Default ``False``: each has it.
        :raises ValueError: the interval is not more than 0.
        :raises TypeError: it is missing, as in ``@server.every``.
        """
        if callable(interval):
            raise TypeError("a tick has an interval: write @server.every(seconds)")

        def register(func: F) -> F:
            tick = Tick(interval, func)
            if once:
                tick.due_here = self._hub.ticks.leads
            self._hub.ticks.add(tick)
            return func

        return register

    def authenticate(self, func: F) -> F:
        """Register the function that decides which clients may join: ``@server.authenticate``.

        It takes the :class:`JoinRequest`, or those of ``name``, ``group``, ``addr``, ``token`` and
        ``http`` that its parameters name. An awaitable result (a coroutine, a future, a task) is
        awaited for up to ``auth_timeout`` seconds. Returning ``False`` or raising :class:`Reject`
        rejects the client; returning :class:`Accept` admits it with the name, group and session
        given there; any other result admits it with the name and group that it asked for. No
        frame of the client is handled before.

        Clients can change their names and groups later only if :meth:`authorize_change` allows it.

        :raises TypeError: it takes something else.
        """
        self._hub.admission.authenticate = bind_authenticate(func)
        return func

    def authorize_change(self, func: F) -> F:
        """Register the function that decides whether a client may change its name or group:
        ``@server.authorize_change``.

        It takes the :class:`ChangeRequest`, or those of ``client``, ``name`` and ``group`` that its
        parameters name. ``False`` and :class:`Reject` refuse, as for :meth:`authenticate`; the
        client then keeps its name and group, and a line is logged.

        :raises TypeError: it takes something else.
        """
        self._hub.renaming.authorize = bind_authorize_change(func)
        return func

    def include(self, part: Part, prefix: str = "") -> None:
        """Register the handlers and ticks of a :class:`hisock.routing.Router`.

        An instance of a subclass of :class:`hisock.routing.Handlers` can be given as well. Handlers
        of reserved events are called in addition to the server's own, in the order of including.
        A part may be included again under another prefix, for its commands; its events and ticks
        are not called twice.

        :param part: the router, or the instance.
        :param prefix: put before its commands, and before the router's own prefix. Default ``""``.
        :raises TypeError: it is neither, or the parameters of one of its handlers do not fit.
        :raises ValueError: it is included already, and under no other prefix.
        """
        for tick in self._events.handlers.include(part, prefix):
            self.every(tick.options["interval"])(tick.func)

    def middleware(self, func: M) -> M:
        """Run a function around every handler: ``@server.middleware``.

        It is either an ``async def (context, call_next)``, which returns the result of
        ``await call_next()`` or another one; plain handlers then run inside it on the loop. Or it
        is a generator function of ``(context)`` that yields once, where the handler runs:
        ``result = yield`` evaluates to the handler's result, or raises its exception. If the
        generator returns a value, that replaces the result; if it returns before the ``yield``, the
        handler does not run. The :class:`hisock.routing.Context` holds the command, the client and
        the message.

        The first one registered is the outermost. Without middleware, handlers cost nothing more.

        :raises TypeError: it is neither.
        """
        self._events.handlers.use(func)
        return func
