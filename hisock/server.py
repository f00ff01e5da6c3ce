"""The server: :class:`HiSockServer`, and :class:`ThreadedHiSockServer` in a thread of its own."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from hisock import loops
from hisock.casting import JSON
from hisock.clients import ClientInfo, ClientRef, ClientsView
from hisock.connection import Connection
from hisock.events import ServerEvents
from hisock.exceptions import ClientDisconnected, ClientNotFound
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, build_command, fan_out
from hisock.hub import Announce, Hub
from hisock.receiving import wait_for_frame
from hisock.waiting import Waiting
from hisock.workers import Workers

logger = logging.getLogger("hisock.server")
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound="HiSockServer")


class HiSockServer:
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
    ) -> None:
        if announce not in ("all", "group", "none"):
            raise ValueError(f"announce is 'all', 'group' or 'none', not {announce!r}")
        self.header_len = header_len
        self._codec = JSON
        self._loop_name = loop
        self._error_handler: Callable[[Exception], Any] | None = None
        self._workers = Workers("hisock-server")
        self._waiting = Waiting(threading.Lock(), time.monotonic)
        self._events = ServerEvents(
            self._waiting, self._report, self._spawn, self._codec, header_len, cache_size
        )
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
        self._encode = self._codec.encode
        self._closed = False
        self._started = False
        self._ended = threading.Event()
        self._listener = _listen(addr)
        #: Where the server listens, with the real port.
        self.addr: tuple[str, int] = self._listener.getsockname()[:2]

    # -- handlers

    def on(self, command: str, threaded: bool = False, override: bool = False) -> Callable[[F], F]:
        """Register a handler: ``@server.on("command")``.

        Handlers of commands take ``(client, message)``, ``(client)`` or nothing; the annotation of
        the message says what it is cast to. The reserved events are ``join(client)``,
        ``leave(client)``, ``name_change(client, old, new)``, ``group_change(client, old, new)``,
        ``message(client, command, message)`` or ``message(client, raw)``, and
        ``*(client, command, message)`` for what nobody else takes.

        :param command: what it handles.
        :param threaded: run it in a thread of its own, where it may block.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._events.on(command, threaded, override)

    def _report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
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

    def _spawn(self, func: Callable[..., Any], args: tuple[Any, ...], command: str) -> None:
        self._workers.submit(self._run_handler, func, args, command)

    def _run_handler(self, func: Callable[..., Any], args: tuple[Any, ...], command: str) -> None:
        try:
            func(*args)
        except Exception as exc:
            if self._closed and isinstance(exc, ClientDisconnected):
                return  # it was waiting in recv() when the server closed
            client = args[0] if args and isinstance(args[0], ClientInfo) else None
            self._report(exc, command, client)

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
        if self._started:
            raise RuntimeError("the server is running already")
        self._started = True
        self._error_handler = error_handler
        self._events.callback = callback
        self._events.refresh()
        loops.raise_descriptor_limit()
        try:
            loop = loops.new_loop(self._loop_name)
            try:
                with loops.ended_by_signals(self._hub.stop):
                    loop.run_until_complete(self._hub.serve(self._listener, ready))
            finally:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
        finally:
            self._finish()

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

    # -- sending

    def send_client(self, client: ClientRef, command: str, content: Any = None) -> None:
        """Send a command to one client. From any thread.

        :param client: a :class:`ClientInfo`, ``(ip, port)``, ``"ip:port"`` or a name; several
            with that name: the one that joined first, and a warning.
        :param content: the message; see :mod:`hisock.casting` for what can be sent.
        :raises ClientNotFound: no such client is connected.
        :raises TypeError: the content cannot be encoded.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        """
        if type(content) is not bytes:
            content = self._encode(content)
        peer: Connection | None = client._peer if type(client) is ClientInfo else None
        if peer is None or peer.hub is not self._hub:
            peer = self._registry.find(client)
        if not peer.outbox.send(command, content):
            raise ClientNotFound(f"{peer.info} is no longer connected")

    def send_all_clients(self, command: str, content: Any = None) -> int:
        """Send a command to all clients; it is encoded once. From any thread.

        :returns: how many clients it was sent to.
        :raises TypeError: the content cannot be encoded.
        """
        frame = build_command(command, self._encode(content), self.header_len)
        return fan_out(self._registry.everyone, frame)

    def send_group(self, group: str | ClientInfo, command: str, content: Any = None) -> int:
        """Send a command to all clients in a group; it is encoded once. From any thread.

        :param group: the group's name, or a client for the group it is in.
        :returns: how many clients it was sent to; 0 when nobody is in the group.
        :raises TypeError: the client is in no group, or the content cannot be encoded.
        """
        name = group.group if isinstance(group, ClientInfo) else group
        if name is None:
            raise TypeError(f"{group} is in no group")
        frame = build_command(command, self._encode(content), self.header_len)
        return fan_out(self._registry.group(name), frame)

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
        if self._hub.on_loop_thread() and not self._ended.is_set():
            raise RuntimeError(
                "recv() in a handler that runs on the server's loop would wait for ever; "
                'register the handler with @server.on("...", threaded=True)'
            )
        return wait_for_frame(self._waiting, self._codec, recv_on, recv_as, timeout)

    def get_cache(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all, the one at an index, or a slice.

        Each has ``header``, ``content``, ``called`` and ``command``. See ``cache_size``.
        """
        return self._events.get_cache(idx)

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
