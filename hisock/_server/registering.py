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
        the message says what it is cast to. What a handler returns is the reply, if the command
        came as a call. The reserved events are ``join(client)``,
        ``leave(client)``, ``name_change(client, old, new)``, ``group_change(client, old, new)``,
        ``message(client, command, message)`` or ``message(client, raw)``, and
        ``*(client, command, message)`` for what nobody else takes.

        :param command: what it handles.
        :param threaded: run it in a thread of its own, where it may block. A client has at most 64
            threads at a time, of 256 for all; what it sends beyond that waits for one.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :param concurrent: for ``async def``: handle what the client sends next without waiting
            for its end.
        :param replace: take the place of a handler that is registered already; without it, a
            second one does so with a warning.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._events.on(command, threaded, override, concurrent, replace)

    def every(self, interval: float) -> Callable[[F], F]:
        """Register a tick: ``@server.every(1 / 20)``.

        The function, plain or async, takes the seconds since its last call, or nothing. Ticks do
        not drift, and late ones are skipped; :class:`TickStats` says how many.

        :param interval: seconds between two ticks.
        :raises ValueError: the interval is not more than 0.
        :raises TypeError: it is missing, as in ``@server.every``.
        """
        if callable(interval):
            raise TypeError("a tick has an interval: write @server.every(seconds)")

        def register(func: F) -> F:
            self._hub.ticks.add(Tick(interval, func))
            return func

        return register

    def authenticate(self, func: F) -> F:
        """Have a function decide who may join: ``@server.authenticate``.

        It takes the :class:`JoinRequest`, or those of ``name``, ``group``, ``addr`` and ``token``
        that it names as its arguments. What it returns is awaited if it can be: a coroutine, a
        future, a task. It returns ``False``, or raises :class:`Reject`, to keep the client out;
        :class:`Accept` to say what the client is called, and what its session is; anything else
        lets it in as what it asked for. Nothing the client sends is handled before.

        Clients change their names and groups later only if :meth:`authorize_change` lets them.

        :raises TypeError: it takes something else.
        """
        self._hub.door.authenticate = bind_authenticate(func)
        return func

    def authorize_change(self, func: F) -> F:
        """Have a function decide which name or group a client may change to:
        ``@server.authorize_change``.

        It takes the :class:`ChangeRequest`, or those of ``client``, ``name`` and ``group`` that it
        names as its arguments. ``False`` and :class:`Reject` refuse, as for :meth:`authenticate`;
        the client keeps what it has then, and a line is logged.

        :raises TypeError: it takes something else.
        """
        self._hub.renaming.authorize = bind_authorize_change(func)
        return func

    def include(self, part: Part, prefix: str = "") -> None:
        """Register the handlers and ticks of a :class:`hisock.routing.Router`.

        Or those of an object of a class made from :class:`hisock.routing.Handlers`. Handlers of
        reserved events are called beside those that the server has, in the order of including.

        :param part: the router, or the object.
        :param prefix: what its commands begin with here, before its own prefix.
        :raises TypeError: it is neither, or one of its handlers does not fit.
        """
        for tick in self._events.handlers.include(part, prefix):
            self.every(tick.options["interval"])(tick.func)

    def middleware(self, func: M) -> M:
        """Run a function around every handler: ``@server.middleware``.

        Either ``async def (context, call_next)``, which returns the result of
        ``await call_next()`` or another; handlers that are not async run inside of it on the loop.
        Or a generator function of ``(context)`` that yields once, where the handler runs:
        ``result = yield`` gets what that returns, or raises what it raises. What the generator
        returns, if anything, is the result then, also before the ``yield``: the handler does not
        run then. The :class:`hisock.routing.Context` tells the command, the client and the message.

        The first one registered is the outermost. Handlers cost nothing more without any.

        :raises TypeError: it is neither.
        """
        self._events.handlers.use(func)
        return func
