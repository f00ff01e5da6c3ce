"""The server: :class:`HiSockServer`, and :class:`ThreadedHiSockServer` in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from hisock import utils
from hisock._cluster.config import Cluster
from hisock._cluster.crew import make_crew
from hisock._cluster.face import Clustered
from hisock._cluster.several import Several
from hisock._core.codec import find_codec
from hisock._core.error_handlers import ErrorHandler, bind_error_handler
from hisock._core.http import WebSocket, websocket_option
from hisock._core.public import publish
from hisock._core.server_events import ServerEvents
from hisock._core.signatures import maker_of
from hisock._core.waiting import Waiting
from hisock._runtime import loops, sockets
from hisock._runtime.loop_thread import LoopThread
from hisock._runtime.sockets import Address
from hisock._runtime.tls import ServerTLS, server_context
from hisock._server.directory import Directory, OwnDirectory
from hisock._server.hub import Hub
from hisock._server.lifecycle import Lifecycle
from hisock._server.limits import AddressRate
from hisock._server.membership import Membership
from hisock._server.options import Announce, OnFlood, OnSlow, ServerOptions
from hisock._server.receiving import Receiving
from hisock._server.registering import Registering
from hisock._server.runner import HandlerRunner
from hisock._server.sending import Sending
from hisock._server.sessions import Session
from hisock._server.state import ServerState
from hisock._server.stats import ServerStats
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE
from hisock.utils import *  # noqa: F403 - what programs of 2.0.2 import from here

__all__ = ["HiSockServer", "ThreadedHiSockServer", "start_server", "start_threaded_server"]
__all__ += utils.__all__
S = TypeVar("S", bound="HiSockServer[Any]")
#: What :meth:`HiSockServer.start` takes first: a callback, or where to listen.
StartArgument = Callable[[], Any] | Address | list[Address] | None
#: As it is typed, the session of a server made without one is anything.
_ANY_DICT: Any = dict


class HiSockServer(
    Registering, Sending, Receiving, Membership[Session], Clustered, Several, ServerState
):
    """A server of commands with messages.

    It listens from the moment it is made; clients are served while :meth:`start` runs.

    :param addr: ``(host, port)`` to listen on, IPv4, IPv6 or a host name; port 0 takes a free one,
        which :attr:`addr` tells. Or the path of a Unix socket, or a socket that is bound already,
        or a list of these. ``None`` listens nowhere until :meth:`start` is given an address.
    :param max_connections: how many clients may be connected at once; 0 for any number.
    :param header_len: digits of a frame's length, 1 to 20; clients must have the same.
    :param cache_size: frames kept for :meth:`get_cache`; below 0 none, 0 all, n the last n.
    :param keepalive: whether keepalives are sent, and clients that do not answer disconnected.
    :param keepalive_interval: seconds between keepalives.
    :param keepalive_timeout: seconds that a client has to answer.
    :param hello_timeout: seconds until the hello of a new connection, and before that until the end
        of the TLS handshake.
    :param max_message_size: bytes of one frame at most; a longer one ends its connection.
    :param max_buffered: bytes of received data that all clients together may occupy until it is
        handled; above that, the client that occupies most is disconnected.
    :param max_connections_per_ip: how many connections one IP address may have; 0 for any number.
    :param rate_limit: ``(messages a second, burst)`` that each client may send; ``None`` for any.
    :param on_flood: the policy for a client that sends more: ``"disconnect"`` it, or ``"pause"``
        reading from it until the average is within the rate again.
    :param connection_rate: ``(connections a second, burst)`` that are accepted from each address,
        ``None`` for any number. ``"auto"`` is 50 and 500, and any number from this machine.
    :param change_rate: ``(changes a second, burst)`` of names and groups that are allowed from each
        address, as for ``connection_rate``. ``"auto"`` is 10 and 200.
    :param send_buffer: bytes of one client's backlog at most.
    :param latest_ahead: how many batches of ``latest`` messages may be in flight to a client at
        once; 0 for any number. With 2, a client that pauses reads at most two old states when it
        resumes, instead of all that fit into the buffers of both kernels.
    :param on_slow: the policy for a client with a larger backlog: ``"disconnect"`` it; ``"drop"``
        new messages until it has caught up; or a function of the client and its backlog in bytes,
        which returns one of the two, or ``None`` to wait until the backlog has grown by as much
        again.
    :param announce: which clients are told that a client joined or left: ``"all"``, its
        ``"group"``, or ``"none"``.
    :param hide_addresses: show clients ``("hidden", number)`` instead of others' addresses.
    :param unique_names: reject clients with a name that another client has.
    :param auth_timeout: seconds that an async function of :meth:`authenticate` may take.
    :param ssl: serve over TLS: a context, or the paths of ``(certificate, key)``.
    :param loop: ``"auto"`` runs on uvloop or winloop if it is installed, ``"uvloop"`` requires it,
        ``"asyncio"`` uses the standard loop.
    :param codec: ``"json"`` or ``"msgpack"``, for messages that are not plain text; clients with
        another codec are rejected.
    :param session: called without arguments to make the :meth:`session` of a connection.
    :param error_handler: called as ``(exc, context)`` with every exception that a handler raises,
        and its :class:`ErrorContext`; or as ``(exc)``, if it takes one argument. The exception is
        logged anyway.
    :param strict: whether a command that nobody handles is an error: it is given to the
        ``error_handler``, and a call of it is answered with the command that may have been meant.
    :param websocket: take browsers too, over WebSockets on the same port: ``True``, or a
        :class:`WebSocket` that says how.
    :param restart_after: seconds after which a server that is closed, or stopped by a signal, is
        to be back, a day at most: clients with ``reconnect`` come back between then and as long
        again. ``None`` ends them for good, as :meth:`close` with ``final`` does.
    :param workers: how many processes :meth:`start` runs the server in, each of them the program
        anew; see :meth:`run_workers`. ``None`` runs it in this process.
    :param cluster: the servers that this one acts as one with: a :class:`Cluster`, or its URL.
        ``None`` with ``workers`` are the workers alone.
    :param admin_token: a secret of 16 characters or more; a program that has it, as ``hisock top``,
        may see figures and clients, and disconnect them. ``None`` lets nobody.
    :raises OSError: the address is in use, or is not one of this machine.
    :raises ValueError: an option is out of its range.
    :raises ImportError: ``websocket`` or ``loop`` needs a package that is not installed.
    """

    def __init__(
        self,
        addr: Address | list[Address] | None,
        max_connections: int = 0,
        header_len: int = DEFAULT_HEADER_LEN,
        cache_size: int = -1,
        keepalive: bool = True,
        *,
        keepalive_interval: float = 30.0,
        keepalive_timeout: float = 30.0,
        hello_timeout: float = 10.0,
        max_message_size: int = DEFAULT_MAX_FRAME_SIZE,
        max_buffered: int = 256 * 1024 * 1024,
        max_connections_per_ip: int = 0,
        rate_limit: tuple[float, float] | None = None,
        on_flood: OnFlood = "disconnect",
        connection_rate: AddressRate = "auto",
        change_rate: AddressRate = "auto",
        send_buffer: int = 4 * 1024 * 1024,
        latest_ahead: int = 0,
        on_slow: OnSlow = "disconnect",
        announce: Announce = "all",
        hide_addresses: bool = False,
        unique_names: bool = False,
        auth_timeout: float = 10.0,
        ssl: ServerTLS = None,
        loop: loops.LoopName = "auto",
        codec: str = "json",
        session: Callable[[], Session] = _ANY_DICT,
        error_handler: ErrorHandler | None = None,
        strict: bool = False,
        websocket: WebSocket | bool | None = None,
        restart_after: float | None = 1.0,
        workers: int | None = None,
        cluster: Cluster | str | None = None,
        admin_token: str | None = None,
    ) -> None:
        options = ServerOptions(
            header_len=header_len,
            max_connections=max_connections,
            max_connections_per_ip=max_connections_per_ip,
            max_message_size=max_message_size,
            max_buffered=max_buffered,
            keepalive=keepalive,
            keepalive_interval=keepalive_interval,
            keepalive_timeout=keepalive_timeout,
            hello_timeout=hello_timeout,
            auth_timeout=auth_timeout,
            announce=announce,
            hide_addresses=hide_addresses,
            unique_names=unique_names,
            send_buffer=send_buffer,
            latest_ahead=latest_ahead,
            on_slow=on_slow,
            rate_limit=rate_limit,
            on_flood=on_flood,
            connection_rate=connection_rate,
            change_rate=change_rate,
            tls=server_context(ssl),
            session=session,
            websocket=websocket_option(websocket),
            restart_after=restart_after,
            admin_token=admin_token,
        )
        self.header_len = header_len
        self._codec = find_codec(codec)
        self._waiting = Waiting(threading.Lock(), time.monotonic)
        thread = LoopThread()
        self._runner = HandlerRunner(thread, max_buffered)
        self._events = ServerEvents(
            self._waiting, self._runner, self._codec, header_len, cache_size
        )
        self._events.strict = strict
        if error_handler is not None:
            self._runner.error_handler = bind_error_handler(error_handler)
        self._hub = Hub(self._events, self._runner, thread, options, sender=self)
        self._registry = self._hub.registry
        self._broadcast = self._hub.broadcast
        self._directory: Directory = OwnDirectory(self._hub)
        self._join(cluster, workers)
        self._life = Lifecycle(self._hub, self._waiting, loop, workers, make_crew)
        self._listen(addr)

    # -- running

    def _listen(self, addr: Address | list[Address] | None) -> None:
        #: Where the server listens, each address with its real port.
        self.addrs: list[Any] = self._life.listen(addr)
        #: The first of them, by the host that was given; ``None`` before one is known.
        self.addr: Any = sockets.as_given(addr, self.addrs[0]) if self.addrs else None

    def _listen_first(self, first: StartArgument) -> Callable[[], Any] | None:
        """Take the first argument of :meth:`start`: a callback, or where to listen."""
        if first is None or callable(first):
            return first
        self._listen(first)
        return None

    def start(
        self,
        callback: StartArgument = None,
        error_handler: ErrorHandler | None = None,
    ) -> None:
        """Serve until the server is closed, by :meth:`close`, SIGINT or SIGTERM.

        :param callback: called after each frame. Or an address to listen on, for a server that was
            made with ``HiSockServer(None)``: ``start(("", 5000))``.
        :param error_handler: see :class:`HiSockServer`; the one given there, if ``None``.
        :raises KeyboardInterrupt: SIGINT (Ctrl-C) closed the server, in order; after SIGTERM this
            returns.
        :raises RuntimeError: the server is running already, or listens nowhere.
        :raises OSError: the address is in use, or is not one of this machine.
        """
        self._life.run(self._listen_first(callback), error_handler, lambda: None)

    def run(
        self,
        callback: StartArgument = None,
        error_handler: ErrorHandler | None = None,
    ) -> None:
        """The same as :meth:`start`."""
        self.start(callback, error_handler)

    async def serve(
        self,
        callback: StartArgument = None,
        error_handler: ErrorHandler | None = None,
    ) -> None:
        """Serve on the running event loop, beside other tasks, until closed.

        The server handles no signals here; cancelling this coroutine closes it.

        :param callback: called after each frame; or an address, see :meth:`start`.
        :param error_handler: see :class:`HiSockServer`; the one given there, if ``None``.
        :raises RuntimeError: the server is running already.
        """
        await self._life.serve(self._listen_first(callback), error_handler)

    async def __aenter__(self: S) -> S:
        await self._life.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self._life.leave()

    def close(self, *, timeout: float | None = None, final: bool = False) -> None:
        """Say goodbye to all clients, free the port and end :meth:`start`.

        Clients with ``reconnect`` come back after the seconds of ``restart_after``.

        From the beginning of it nobody new is let in, and no handler or tick begins, but for
        ``leave``. With a ``timeout``, handlers that run may end: async and threaded ones, those
        that answer calls, and what waits for a thread. What they send arrives before the goodbye,
        and they get the frames and replies that they wait for. Async ones that run then are
        cancelled; threads cannot be, after another second they are left to themselves.

        Called on the loop's thread or in a handler it returns at once, and the server ends after
        the handler; leaving ``async with`` or awaiting :meth:`serve` waits for the end. Called from
        any other thread it returns when the server has ended. Calling it again with a shorter
        ``timeout`` shortens the shutdown; otherwise closing twice does nothing.

        :param timeout: seconds that all this may take together, clients that read slowly included.
            The default, ``None``, gives handlers no time (async ones are cancelled at once, those
            in threads have a second), and clients two seconds to take what waits for them.
        :param final: the server does not come back: all clients are disconnected for good.
        :raises ValueError: the timeout is less than 0.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout is 0 seconds or more, not {timeout!r}")
        self._life.close(timeout, final)

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def stats(self) -> ServerStats:
        """The figures of the server, as of now. From any thread."""
        return self._hub.stats()

    def __repr__(self) -> str:
        where = "nowhere yet" if self.addr is None else f"at {sockets.address_text(self.addr)}"
        return f"<{type(self).__name__} serving {where}>"


class ThreadedHiSockServer(HiSockServer[Session]):
    """A server that runs in a thread of its own, beside a game loop or a user interface.

    Its handlers run in that thread. Parameters as for :class:`HiSockServer`.
    """

    _thread: threading.Thread | None = None

    def start(
        self, callback: StartArgument = None, error_handler: ErrorHandler | None = None
    ) -> None:
        """Start serving, and return once clients are being accepted.

        :param callback: called after each frame; or an address, see :meth:`HiSockServer.start`.
        :param error_handler: see :class:`HiSockServer`; the one given there, if ``None``.
        :raises RuntimeError: the server is running already, or was closed after it had run.
        """
        if self._life.closed:
            if self._life.started:
                raise RuntimeError("the server is closed; make a new one to serve again")
            return  # close() of another thread came before
        if self._life.started:
            raise RuntimeError("the server is running already")
        if self._life.workers is not None:
            raise RuntimeError("workers run a HiSockServer; a ThreadedHiSockServer has one thread")
        after_each = self._listen_first(callback)
        ready = threading.Event()
        failure: list[BaseException] = []

        def serve() -> None:
            self._thread = threading.current_thread()  # not before it can be joined
            try:
                self._life.run(after_each, error_handler, ready.set)
            except BaseException as exc:
                failure.append(exc)
                if ready.is_set() and not isinstance(exc, SystemExit):
                    raise
            finally:
                ready.set()

        thread = threading.Thread(target=serve, name="hisock-server")
        thread.start()
        ready.wait()
        if failure and not isinstance(failure[0], SystemExit):
            thread.join()
            raise failure[0]

    def close(self, *, timeout: float | None = None, final: bool = False) -> None:
        """Close the server and wait for its thread to end, unless this is that thread.

        :param timeout: see :meth:`HiSockServer.close`, for ``final`` too.
        :raises ValueError: it is less than 0.
        """
        super().close(timeout=timeout, final=final)
        thread = self._thread
        ours = thread is threading.current_thread() or self._life.in_handler_thread()
        if thread is not None and not ours:
            thread.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the server's thread ends.

        :param timeout: seconds to wait at most; ``None`` (the default) for no limit.
        """
        if self._thread is not None:
            self._thread.join(timeout)


def _make(*args: Any, **options: Any) -> HiSockServer:
    """Make a :class:`HiSockServer`, with the same parameters."""
    return HiSockServer(*args, **options)


def _make_threaded(*args: Any, **options: Any) -> ThreadedHiSockServer:
    """Make a :class:`ThreadedHiSockServer`, with the parameters of :class:`HiSockServer`."""
    return ThreadedHiSockServer(*args, **options)


start_server = maker_of(HiSockServer, _make, "start_server")
start_threaded_server = maker_of(ThreadedHiSockServer, _make_threaded, "start_threaded_server")


publish("hisock", globals(), __all__[:4])
