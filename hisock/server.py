"""The server: :class:`HiSockServer`, and :class:`ThreadedHiSockServer` in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar, overload

from hisock import loops, protocol
from hisock.binding import cast_message
from hisock.casting import Cast, find_codec
from hisock.clients import ClientInfo, ClientRef, ClientsView
from hisock.events import ServerEvents
from hisock.exceptions import ClientDisconnected, ConnectionLost, NotSupported
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, build_header
from hisock.hub import Announce, Hub
from hisock.loop_waiting import LoopWaiter, await_frame
from hisock.receiving import ThreadWaiter, call_timed_out, wait_for_frame
from hisock.running import Job
from hisock.sending import Sender
from hisock.ticks import Tick
from hisock.waiting import Waiting
from hisock.workers import Workers

logger = logging.getLogger("hisock.server")
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound="HiSockServer")
T = TypeVar("T")


class HiSockServer(Sender):
    """A server of commands with messages.

    It listens from the moment it is made; clients are served while :meth:`start` runs.

    :param addr: ``(host, port)`` to listen on; port 0 takes a free one, which :attr:`addr` tells.
    :param max_connections: how many clients may be connected at once; 0 for any number.
    :param header_len: digits of a frame's length, 1 to 20; clients must have the same.
    :param cache_size: frames kept for :meth:`get_cache`; below 0 none, 0 all, n the last n.
    :param keepalive: whether silent clients are asked whether they are there, and disconnected
        when they are not.
    :param keepalive_interval: seconds between such questions.
    :param keepalive_timeout: seconds that a client has to answer.
    :param hello_timeout: seconds that a new connection has to say hello.
    :param max_message_size: bytes that one frame may have; a longer one ends its connection.
    :param announce: who is told that a client joined or left: ``"all"``, its ``"group"``, or
        ``"none"``.
    :param loop: ``"auto"`` runs on uvloop or winloop when it is installed, ``"uvloop"`` insists
        on it, ``"asyncio"`` takes the standard loop.
    :param codec: ``"json"`` or ``"msgpack"``, for messages that are not plain text; clients must
        have the same, others are told so and not let in.
    :param session: makes what :meth:`session` keeps for a connection.
    :raises OSError: the address is in use, or is not one of this machine.
    """

    def __init__(
        self,
        addr: tuple[str, int],
        max_connections: int = 0,
        header_len: int = DEFAULT_HEADER_LEN,
        cache_size: int = -1,
        keepalive: bool = True,
        *,
        keepalive_interval: float = 30.0,
        keepalive_timeout: float = 30.0,
        hello_timeout: float = 10.0,
        max_message_size: int = DEFAULT_MAX_FRAME_SIZE,
        announce: Announce = "all",
        loop: loops.LoopName = "auto",
        codec: str = "json",
        session: Callable[[], Any] = dict,
    ) -> None:
        if announce not in ("all", "group", "none"):
            raise ValueError(f"announce is 'all', 'group' or 'none', not {announce!r}")
        build_header(0, header_len)  # a ValueError unless it is 1 to 20
        self.header_len = header_len
        self._codec = find_codec(codec)
        self._session_factory = session
        self._ticks: list[Tick] = []
        self._loop_name = loop
        self._error_handler: Callable[[Exception], Any] | None = None
        self._workers = Workers("hisock-server")
        self._waiting = Waiting(threading.Lock(), time.monotonic)
        self._events = ServerEvents(self._waiting, self, self._codec, header_len, cache_size)
        self._hub = Hub(
            self._events,
            header_len=header_len,
            max_message_size=max_message_size,
            max_connections=max_connections,
            keepalive=keepalive,
            keepalive_interval=keepalive_interval,
            keepalive_timeout=keepalive_timeout,
            hello_timeout=hello_timeout,
            announce=announce,
        )
        self._registry = self._hub.registry
        self._closed = False
        self._started = False
        self._ended = threading.Event()
        self._serving = asyncio.Event()
        self._serve_task: asyncio.Future[None] | None = None
        self._listener = _listen(addr)
        #: Where the server listens, with the real port.
        self.addr: tuple[str, int] = self._listener.getsockname()[:2]

    # -- handlers

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
    ) -> Callable[[F], F]:
        """Register a handler: ``@server.on("command")``.

        Handlers of commands take ``(client, message)``, ``(client)`` or nothing; the annotation of
        the message says what it is cast to. What a handler returns is the reply, if the command
        came as a call. The reserved events are ``join(client)``,
        ``leave(client)``, ``name_change(client, old, new)``, ``group_change(client, old, new)``,
        ``message(client, command, message)`` or ``message(client, raw)``, and
        ``*(client, command, message)`` for what nobody else takes.

        :param command: what it handles.
        :param threaded: run it in a thread of its own, where it may block.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :param concurrent: for ``async def``: handle what the client sends next without waiting
            for its end.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._events.on(command, threaded, override, concurrent)

    def every(self, interval: float) -> Callable[[F], F]:
        """Register a tick: ``@server.every(1 / 20)``.

        The function, plain or async, takes the seconds since its last call, or nothing. Ticks do
        not drift, and late ones are skipped; see :class:`hisock.ticks.Tick`.

        :param interval: seconds between two ticks.
        :raises ValueError: the interval is not more than 0.
        """

        def register(func: F) -> F:
            tick = Tick(interval, func)
            self._ticks.append(tick)
            self._hub.add_tick(tick)
            return func

        return register

    # -- running handlers: see hisock.running.Runner

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """Log an error of a handler, count it, and give it to the error handler."""
        self._hub.handler_errors += 1
        logger.error(
            "the handler of %r failed%s: %s",
            command,
            "" if client is None else f" for {client}",
            exc,
            exc_info=exc,
        )
        if self._error_handler is not None:
            try:
                self._error_handler(exc)
            except Exception:
                logger.exception("the error handler failed")

    def in_thread(self, func: Callable[[], Any], job: Job) -> None:
        """Run a handler in a thread of its own."""
        self._workers.submit(self._run_job, func, job)

    def _run_job(self, func: Callable[[], Any], job: Job) -> None:
        try:
            result = func()
        except Exception as exc:
            if self._closed and isinstance(exc, ClientDisconnected):
                return  # it was waiting in recv() when the server closed
            job.finish(None, exc)
        else:
            job.finish(result, None)

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop."""
        self._hub.run_task(coroutine, job, ordered)

    # -- running

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Serve until the server is closed, by :meth:`close`, SIGINT or SIGTERM.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises; it is logged anyway.
        :raises RuntimeError: the server is running already.
        """
        self._run(callback, error_handler, lambda: None)

    def run(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """The same as :meth:`start`."""
        self.start(callback, error_handler)

    def _run(
        self,
        callback: Callable[[], Any] | None,
        error_handler: Callable[[Exception], Any] | None,
        ready: Callable[[], None],
    ) -> None:
        if self._closed:
            return
        self._prepare(callback, error_handler)
        try:
            loop = loops.new_loop(self._loop_name)
            try:
                serving = loop.create_task(self._hub.serve(self._listener, ready))
                with loops.ended_by_signals(self._hub.stop):
                    try:
                        loop.run_until_complete(serving)
                    except (SystemExit, KeyboardInterrupt):
                        # Raised by an async handler, or by an impatient second Ctrl-C.
                        self._hub.stop()
                        if not serving.done():
                            loop.run_until_complete(serving)
                        raise
            finally:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
        finally:
            self._finish()

    def _prepare(
        self,
        callback: Callable[[], Any] | None,
        error_handler: Callable[[Exception], Any] | None,
    ) -> None:
        if self._started:
            raise RuntimeError("the server is running already")
        self._started = True
        self._error_handler = error_handler
        self._events.callback = callback
        self._events.refresh()
        loops.raise_descriptor_limit()

    async def serve(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Serve on the running event loop, beside whatever else runs there, until closed.

        Signals are left to whom the loop belongs; cancelling this closes the server.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises; it is logged anyway.
        :raises RuntimeError: the server is running already.
        """
        if self._closed:
            return
        self._prepare(callback, error_handler)
        try:
            await self._hub.serve(self._listener, self._serving.set)
        finally:
            self._serving.set()
            self._finish()

    async def __aenter__(self: S) -> S:
        task = asyncio.ensure_future(self.serve())
        self._serve_task = task
        await self._serving.wait()
        if task.done():
            await task
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._serve_task is not None:
            await self._serve_task

    def _finish(self) -> None:
        self._closed = True
        self._listener.close()
        self._waiting.close(ClientDisconnected("the server is closed"))
        self._workers.close(timeout=1.0)
        self._ended.set()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called, or the server ended otherwise."""
        return self._closed

    def close(self) -> None:
        """Say goodbye to all clients, free the port and end :meth:`start`.

        From a handler it returns at once and the server ends when the handler does; from any other
        thread it returns when the server has ended. Closing twice does nothing.
        """
        self._closed = True
        if not self._started:
            self._finish()
            return
        self._hub.stop()
        self._waiting.close(ClientDisconnected("the server is closed"))
        here = threading.current_thread()
        if not self._hub.on_loop_thread() and here not in self._workers:
            self._ended.wait()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- receiving

    def recv(
        self, recv_on: str | None = None, recv_as: Any = bytes, timeout: float | None = None
    ) -> Any:
        """Wait for a frame of any client that no handler takes. In ``threaded`` handlers, or in
        a thread of one's own.

        :param recv_on: the command to wait for; ``None`` for any frame.
        :param recv_as: the type to return its message as.
        :param timeout: seconds to wait; ``None`` waits for ever.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``recv_as``.
        :raises RuntimeError: called on the loop's own thread, which would wait for itself.
        :raises ClientDisconnected: the server is closed.
        """
        self._not_on_loop("recv()")
        return wait_for_frame(self._waiting, self._codec, recv_on, recv_as, timeout)

    def _not_on_loop(self, what: str) -> None:
        if self._hub.on_loop_thread() and not self._ended.is_set():
            raise RuntimeError(
                f"{what} on the thread of the server's loop would wait for ever; "
                'register the handler with @server.on("...", threaded=True)'
            )

    async def wait_for(
        self,
        command: str | None = None,
        type: Any = bytes,
        client: ClientRef | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Wait, in an async handler or task, for a frame that no handler takes.

        :param command: the command to wait for; ``None`` for any frame.
        :param type: the type to return its message as.
        :param client: wait for a frame of this client; ``None`` for one of whichever.
        :param timeout: seconds to wait; ``None`` waits for ever.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``type``.
        :raises ClientNotFound: no such client is connected.
        :raises ConnectionLost: the client went away meanwhile.
        """
        source = None if client is None else self._registry.find(client).info.ip
        return await await_frame(self._waiting, self._codec, (command, source), type, timeout)

    # -- calling

    @overload
    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        *,
        timeout: float | None = 5.0,
    ) -> bytes | None: ...

    @overload
    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any,
        type: type[T],
        timeout: float | None = 5.0,
    ) -> T: ...

    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: Any = None,
        timeout: float | None = 5.0,
    ) -> Any:
        """Send a command to a client and return what its handler returns.

        For async handlers and tasks on the server's loop; elsewhere see :meth:`call_blocking`.

        :param type: what the reply is cast to; bytes, or ``None`` for an empty one, if not given.
        :param timeout: seconds to wait for the reply; ``None`` waits for ever.
        :raises RemoteError: the handler raised; the error's message is this one's.
        :raises TimeoutError: no reply came in time.
        :raises ConnectionLost: the client went away before the reply came.
        :raises ClientNotFound: no such client is connected.
        :raises NotSupported: the client is older than calls; nothing was sent.
        :raises InvalidTypeCast: the reply does not fit ``type``.
        """
        waiter: LoopWaiter[bytes | None] = LoopWaiter()
        with self._calling(client, command, content, type, waiter) as cast:
            try:
                message = await waiter.wait(timeout)
            except TimeoutError:
                raise call_timed_out(command, timeout) from None
        return cast_message(command, cast, message)

    def call_blocking(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: Any = None,
        timeout: float | None = 5.0,
    ) -> Any:
        """The same as :meth:`call`, for ``threaded`` handlers and other threads.

        :raises RuntimeError: called on the server's loop, which would wait for itself.
        """
        self._not_on_loop("call_blocking()")
        waiter: ThreadWaiter[bytes | None] = ThreadWaiter()
        with self._calling(client, command, content, type, waiter) as cast:
            try:
                message = waiter.wait(timeout)
            except TimeoutError:
                raise call_timed_out(command, timeout) from None
        return cast_message(command, cast, message)

    @contextlib.contextmanager
    def _calling(
        self, client: ClientRef, command: str, content: Any, reply_as: Any, waiter: Any
    ) -> Iterator[Cast]:
        """Send a call; whoever is inside waits for the reply."""
        cast = self._codec.cast_for(reply_as)
        encoded = self._codec.encode(content)
        peer = self._registry.find(client)
        if not peer.modern:
            raise NotSupported(
                f"{peer.info} does not know calls, {command!r} was not sent; "
                "use send_client() and wait_for()"
            )
        calls = peer.calls
        number = calls.add(waiter)
        try:
            call = protocol.Call(number, command, encoded)
            if not peer.outbox.write(protocol.build_call(call, self.header_len)):
                raise ConnectionLost(f"{peer.info} is no longer connected")
            yield cast
        finally:
            calls.forget(number)

    def get_cache(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all, the one at an index, or a slice.

        Each has ``header``, ``content``, ``called`` and ``command``. See ``cache_size``.
        """
        return self._events.cache.get(idx)

    # -- who is there

    @property
    def clients(self) -> ClientsView:
        """The connected clients by ``(ip, port)``: a live, read-only mapping."""
        return ClientsView(self._registry)

    def __len__(self) -> int:
        return len(self._registry)

    def __bool__(self) -> bool:
        return True

    def get_client(self, client: ClientRef) -> ClientInfo:
        """What is known of a client.

        :raises ClientNotFound: no such client is connected.
        """
        return self._registry.find(client).info

    def get_all_clients(self, key: str | Callable[[ClientInfo], Any] | None = None) -> list[Any]:
        """All clients, in the order they joined.

        :param key: ``"ip"``, ``"name"`` or ``"group"`` for a list of those; a callable keeps the
            clients for which it returns true.
        :raises ValueError: there is no such key.
        """
        infos = [peer.info for peer in self._registry]
        if key is None:
            return infos
        if callable(key):
            return [info for info in infos if key(info)]
        if key not in ("ip", "name", "group"):
            raise ValueError(f"key is 'ip', 'name', 'group' or a callable, not {key!r}")
        return [info[key] for info in infos]

    def get_group(self, group: str) -> list[ClientInfo]:
        """The clients in a group.

        :raises GroupNotFound: nobody is in it.
        """
        return [peer.info for peer in self._registry.require_group(group)]

    def get_addr(self) -> tuple[str, int]:
        """Where the server listens."""
        return self.addr

    # -- rooms and sessions

    def join_room(self, client: ClientRef, room: str) -> None:
        """Put a client into a room. It may be in many, beside its group. From any thread.

        :param room: the room's name, at most 1024 characters; it exists while somebody is in it.
        :raises ClientNotFound: no such client is connected.
        :raises ValueError: the name is too long.
        """
        protocol.encode_name(room)
        self._hub.run(lambda: self._registry.join_room(self._registry.find(client), room))

    def leave_room(self, client: ClientRef, room: str) -> None:
        """Take a client out of a room; a client that leaves the server leaves all its rooms.

        :raises ClientNotFound: no such client is connected.
        """
        self._hub.run(lambda: self._registry.leave_room(self._registry.find(client), room))

    def rooms(self, client: ClientRef) -> set[str]:
        """The rooms that a client is in.

        :raises ClientNotFound: no such client is connected.
        """
        return set(self._registry.find(client).rooms or ())

    def get_room(self, room: str) -> list[ClientInfo]:
        """The clients in a room; empty when nobody is in it."""
        return [peer.info for peer in list(self._registry.room(room).values())]

    def session(self, client: ClientRef) -> Any:
        """What the program keeps for a client while it is connected: a dict, or what the
        ``session`` option makes.

        :raises ClientNotFound: no such client is connected.
        """
        peer = self._registry.find(client)
        if peer.session is None:
            peer.session = self._session_factory()
        return peer.session

    # -- disconnecting

    def disconnect_client(
        self, client: ClientRef, force: bool = False, call_func: bool = False
    ) -> None:
        """Disconnect one client. From any thread.

        :param force: do not tell it with ``$DISCONN$`` first.
        :param call_func: fire the ``leave`` event for it.
        :raises ClientNotFound: no such client is connected.
        """
        self._hub.run(lambda: self._hub.disconnect(self._registry.find(client), force, call_func))

    def disconnect_all_clients(self, force: bool = False) -> None:
        """Disconnect all clients. From any thread.

        :param force: do not tell them with ``$DISCONN$`` first.
        """
        self._hub.run(lambda: self._hub.disconnect_all(force))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} serving at {self.addr[0]}:{self.addr[1]}>"


class ThreadedHiSockServer(HiSockServer):
    """A server that runs in a thread of its own, beside a game loop or a user interface.

    Its handlers run in that thread. Parameters as for :class:`HiSockServer`.
    """

    _thread: threading.Thread | None = None

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Start serving, and return once clients are being accepted.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises.
        :raises RuntimeError: the server is running already.
        """
        if self._started:
            raise RuntimeError("the server is running already")
        if self._closed:
            return
        ready = threading.Event()
        failure: list[BaseException] = []

        def serve() -> None:
            try:
                self._run(callback, error_handler, ready.set)
            except BaseException as exc:
                failure.append(exc)
                if ready.is_set() and not isinstance(exc, SystemExit):
                    raise
            finally:
                ready.set()

        self._thread = threading.Thread(target=serve, name="hisock-server")
        self._thread.start()
        ready.wait()
        if failure and not isinstance(failure[0], SystemExit):
            self._thread.join()
            raise failure[0]

    def close(self) -> None:
        """Close the server and wait for its thread to end, unless this is that thread."""
        super().close()
        thread = self._thread
        here = threading.current_thread()
        if thread is not None and thread is not here and here not in self._workers:
            thread.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the server's thread ends.

        :param timeout: seconds to wait at most; ``None`` waits for ever.
        """
        if self._thread is not None:
            self._thread.join(timeout)


def _listen(addr: tuple[str, int]) -> socket.socket:
    """A socket that listens at an address.

    :raises OSError: the address is in use, or is not one of this machine.
    """
    try:
        host, port = addr
    except (TypeError, ValueError):
        raise TypeError(f"addr is a tuple (host, port), not {addr!r}") from None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # On Windows this option would let two servers share a port.
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except socket.gaierror as exc:
            raise TypeError(f"{addr!r} is not an address to listen on: {exc}") from exc
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def start_server(addr: tuple[str, int], *args: Any, **kwargs: Any) -> HiSockServer:
    """Make a :class:`HiSockServer`; it has the same parameters."""
    return HiSockServer(addr, *args, **kwargs)


def start_threaded_server(addr: tuple[str, int], *args: Any, **kwargs: Any) -> ThreadedHiSockServer:
    """Make a :class:`ThreadedHiSockServer`; it has the same parameters."""
    return ThreadedHiSockServer(addr, *args, **kwargs)
