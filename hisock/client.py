"""The client: :class:`HiSockClient`, and :class:`ThreadedHiSockClient` in a thread of its own."""

from __future__ import annotations

import itertools
import logging
import operator
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from hisock import protocol
from hisock.addresses import format_addr
from hisock.binding import cast_message
from hisock.casting import JSON
from hisock.clients import ClientInfo, ClientRef
from hisock.events import ClientEvents, RawFrame
from hisock.exceptions import (
    ClientDisconnected,
    ClientNotFound,
    ConnectionLost,
    ProtocolError,
    ServerException,
)
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, build_command
from hisock.link import LINGER_SECONDS, Link
from hisock.receiving import ThreadWaiter, timed_out
from hisock.waiting import Frame, Waiting
from hisock.workers import Workers

logger = logging.getLogger("hisock.client")
F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound="HiSockClient")

#: How often :meth:`HiSockClient.update` reads at most, so that a busy server cannot keep it.
_READS_PER_UPDATE = 16


class HiSockClient:
    """A client: connects, says hello, and may send at once.

    What the server sends is handled by :meth:`start`, which blocks, or by :meth:`update`, called
    again and again by a game loop, or taken one by one with :meth:`recv`.

    :param addr: ``(host, port)`` of the server.
    :param name: the name to go by; at most 1024 characters.
    :param group: the group to be in; at most 1024 characters.
    :param header_len: digits of a frame's length, 1 to 20; the server must have the same.
    :param cache_size: frames kept for :meth:`get_cache`; below 0 none, 0 all, n the last n.
    :param max_message_size: bytes that one frame of the server may have.
    :param timeout: seconds to wait for the connection; ``None`` as long as the system does.
    :raises ServerNotRunning: nobody listens at the address, or nobody answered in time.
    """

    def __init__(
        self,
        addr: tuple[str, int],
        name: str | None = None,
        group: str | None = None,
        header_len: int = DEFAULT_HEADER_LEN,
        cache_size: int = -1,
        *,
        max_message_size: int = DEFAULT_MAX_FRAME_SIZE,
        timeout: float | None = 10.0,
    ) -> None:
        self.addr = addr
        self.name = self.original_name = name
        self.group = self.original_group = group
        self.header_len = header_len
        self._codec = JSON
        self._encode = self._codec.encode
        self._error_handler: Callable[[Exception], Any] | None = None
        self._workers = Workers("hisock-client")
        self._waiting = Waiting(threading.Lock(), time.monotonic)
        self._asked_for_clients: deque[ThreadWaiter] = deque()
        self._asking = threading.Lock()
        self._events = ClientEvents(
            self._waiting, self._report, self._spawn, self._codec, header_len, cache_size
        )
        # The last frames that arrived, and what of them is still to be handled.
        self._batch: list[RawFrame] = []
        self._pending: Iterator[RawFrame] = iter(())
        # Whose turn it is to read; others wait for that to change, or for a frame of theirs.
        self._turn = threading.Condition()
        self._reader: int | None = None
        self._dispatcher: int | None = None
        self._started = False
        self._closed = False
        hello = protocol.build_hello(name, group, header_len)
        self._link = Link(addr, timeout, header_len, max_message_size)
        self._link.send(hello)
        #: When the client connected, in seconds since the epoch.
        self.connect_time = time.time()

    # -- handlers

    def on(self, command: str, threaded: bool = False, override: bool = False) -> Callable[[F], F]:
        """Register a handler: ``@client.on("command")``.

        Handlers of commands take ``(message)`` or nothing; the annotation of the message says what
        it is cast to. The reserved events are ``client_connect(info)``,
        ``client_disconnect(info)``, ``force_disconnect()`` and ``*(command, message)`` for what
        nobody else takes.

        :param command: what it handles.
        :param threaded: run it in a thread of its own, where it may block.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._events.on(command, threaded, override)

    def _report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        logger.error("the handler of %r failed: %s", command, exc, exc_info=exc)
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
                return  # it was waiting in recv() when the client closed
            self._report(exc, command, None)

    # -- running

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Handle what the server sends until the client is closed.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises, and the
            :class:`ConnectionLost` when the connection ends; handlers' errors are logged anyway.
        :raises ConnectionLost: the connection ended, and there is no ``error_handler``.
        :raises RuntimeError: the client is running already.
        """
        self._prepare(callback, error_handler)
        self._run()

    def run(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """The same as :meth:`start`."""
        self.start(callback, error_handler)

    def _prepare(
        self,
        callback: Callable[[], Any] | None,
        error_handler: Callable[[Exception], Any] | None,
    ) -> None:
        if self._started:
            raise RuntimeError("the client is running already")
        self._started = True
        self._error_handler = error_handler
        self._events.callback = callback
        self._events.refresh()

    def _run(self) -> None:
        if not self._take_turn():
            return
        try:
            while not self._closed:
                self._dispatch(None)
                if not self._closed:
                    self._fetch(None)
        except ConnectionLost as exc:
            if self._error_handler is None:
                raise
            self._error_handler(exc)
        except (KeyboardInterrupt, SystemExit):
            self.close()
            raise
        finally:
            self._end_turn()
            self._workers.close(timeout=1.0)

    def update(self, max_messages: int | None = None) -> int:
        """Handle what has arrived, and return without waiting; for loops that call it each frame.

        :param max_messages: how many frames to handle at most; the rest waits for the next call.
        :returns: how many frames were handled.
        :raises ConnectionLost: the connection has ended; once, then the client is closed.
        """
        if self._closed or self._reader is not None or not self._take_turn():
            return 0
        handled = 0
        try:
            for _ in range(_READS_PER_UPDATE):
                handled += self._dispatch(None if max_messages is None else max_messages - handled)
                if self._closed or handled == max_messages or not self._fetch(0):
                    break
        finally:
            self._end_turn()
        return handled

    # -- reading: one thread at a time

    def _take_turn(self, waiter: ThreadWaiter | None = None, timeout: float | None = None) -> bool:
        """Become the thread that reads, unless ``waiter`` is served by the one that does.

        :returns: whether it is this thread's turn now.
        """
        with self._turn:
            self._turn.wait_for(
                lambda: self._reader is None or (waiter is not None and waiter.served), timeout
            )
            if self._reader is not None or self._closed:
                return False
            self._reader = threading.get_ident()
            return True

    def _end_turn(self) -> None:
        if self._closed:
            self._link.drain()
        with self._turn:
            self._reader = None
            self._turn.notify_all()

    def _fetch(self, timeout: float | None) -> bool:
        """Receive once; whether frames came. All that came before must have been handled.

        :raises ConnectionLost: the connection has ended.
        """
        try:
            frames = self._link.receive(timeout)
        except ConnectionLost as exc:
            if self._closed:
                return False
            self._lost(exc)
            raise
        self._batch = frames
        self._pending = iter(frames)
        return bool(frames)

    def _dispatch(self, most: int | None) -> int:
        """Handle frames that have arrived, ``most`` of them; returns how many."""
        before = operator.length_hint(self._pending)
        if not before:
            return 0
        frames = self._pending if most is None else itertools.islice(self._pending, most)
        self._dispatcher = threading.get_ident()
        try:
            self._events.dispatch(frames, self._take_raw)
        finally:
            self._dispatcher = None
        return before - operator.length_hint(self._pending)

    def _wait(self, waiter: ThreadWaiter, timeout: float | None) -> Frame:
        """Wait for a frame: from the thread that reads, or by reading where no other does."""
        if self._started:
            return waiter.wait(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not waiter.served and not self._closed:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            if self._take_turn(waiter, left):
                self._read_for(waiter, left)
        return waiter.wait(0)

    def _read_for(self, waiter: ThreadWaiter, timeout: float | None) -> None:
        """Handle frames one by one until the waiter has its own; the rest waits for others."""
        try:
            while self._dispatch(1) and not waiter.served:
                pass
            if not waiter.served and not self._closed:
                self._fetch(timeout)
                while not waiter.served and self._dispatch(1):
                    pass
        except ConnectionLost:
            pass  # which the waiter has been told
        finally:
            self._end_turn()

    def _not_while_handling(self, what: str) -> None:
        if self._dispatcher == threading.get_ident():
            raise RuntimeError(
                f"{what} in a handler that runs on the client's loop would wait for ever; "
                'register the handler with @client.on("...", threaded=True)'
            )

    # -- frames without a command

    def _take_raw(self, payload: bytes) -> None:
        try:
            reserved = protocol.split_reserved(payload)
            if reserved is not None:
                self._take_reserved(*reserved)
                return
        except ProtocolError as exc:
            self._lost(ConnectionLost(f"the server broke the protocol: {exc}"))
            return
        if self._asked_for_clients and protocol.parse_client_answer(payload) is not None:
            self._asked_for_clients.popleft().deliver(Frame(None, payload))
        else:
            self._events.handle(None, None, payload)

    def _take_reserved(self, name: bytes, data: bytes) -> None:
        if name == protocol.KEEPALIVE:
            self._send_reserved(protocol.KEEPALIVE_ACK)
        elif name == protocol.DISCONNECT:
            self._end(ClientDisconnected("the server disconnected the client"), None)
            self._events.fire("force_disconnect")
        elif name == protocol.CLIENT_JOINED:
            self._events.fire("client_connect", _info(protocol.parse_client(data)))
        elif name == protocol.CLIENT_LEFT:
            self._events.fire("client_disconnect", _info(protocol.parse_client(data)))
        else:
            raise protocol.unexpected(name, "client")

    def _send_reserved(self, name: bytes, data: bytes = b"") -> None:
        self._link.send(protocol.build_reserved(name, data, self.header_len))

    # -- ending

    def _lost(self, exc: ConnectionLost) -> None:
        logger.warning("%s", exc)
        self._end(exc, None)

    def _end(self, reason: Exception, last_frame: bytes | None) -> None:
        """Send nothing more, handle nothing more, and tell whoever waits."""
        self._closed = True
        self._batch.clear()
        self._link.shut(last_frame)
        self._waiting.close(reason)
        while self._asked_for_clients:
            self._asked_for_clients.popleft().fail(reason)

    def close(self, emit_leave: bool = True) -> None:
        """Say goodbye and close. Closing twice does nothing. From any thread.

        What was sent before still reaches the server.

        :param emit_leave: tell the server with ``$USRCLOSE$``.
        """
        if not self._closed:
            leave = protocol.build_reserved(protocol.LEAVE, header_len=self.header_len)
            self._end(ClientDisconnected("the client is closed"), leave if emit_leave else None)
        if self._reader == threading.get_ident():
            return  # it is called by a handler; the socket is closed when that returns
        with self._turn:
            self._turn.wait_for(lambda: self._reader is None, LINGER_SECONDS)
            reading = self._reader is not None
        if reading:
            self._link.close()
        else:
            self._link.drain()
        self._workers.close()

    @property
    def closed(self) -> bool:
        """Whether the client is closed, by whichever side."""
        return self._closed

    @property
    def connected(self) -> bool:
        """Whether the client is connected."""
        return not self._closed

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- sending

    def send(self, command: str, content: Any = None) -> None:
        """Send a command to the server. From any thread.

        :param content: the message; see :mod:`hisock.casting` for what can be sent.
        :raises TypeError: the content cannot be encoded; nothing has been sent.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises ClientDisconnected: the client is closed.
        :raises ConnectionLost: the connection has ended.
        """
        frame = build_command(command, self._encode(content), self.header_len)
        self._waiting.asked()
        self._link.send(frame)

    def change_name(self, new_name: str | None) -> None:
        """Go by another name.

        :param new_name: ``None`` or empty for the one that the client connected with.
        """
        self.name = new_name or self.original_name
        self._send_reserved(protocol.CHANGE_NAME, protocol.encode_name(new_name))

    def change_group(self, new_group: str | None) -> None:
        """Move to another group.

        :param new_group: ``None`` or empty for the one that the client connected with.
        """
        self.group = new_group or self.original_group
        self._send_reserved(protocol.CHANGE_GROUP, protocol.encode_name(new_group))

    # -- receiving

    def recv(
        self, recv_on: str | None = None, recv_as: Any = bytes, timeout: float | None = None
    ) -> Any:
        """Wait for a frame that no handler takes.

        Where the client runs, in ``threaded`` handlers and other threads; where it was not
        started, it reads from the connection itself, and handles on the way what has a handler.

        :param recv_on: the command to wait for; ``None`` for any frame.
        :param recv_as: the type to return its message as.
        :param timeout: seconds to wait; ``None`` waits for ever.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``recv_as``.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises ClientDisconnected: the client is closed.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        self._not_while_handling("recv()")
        cast = self._codec.cast_for(recv_as)
        waiter = ThreadWaiter()
        self._waiting.add(recv_on, waiter)
        try:
            frame = self._wait(waiter, timeout)
        except TimeoutError:
            raise timed_out(recv_on, timeout) from None
        finally:
            self._waiting.remove(recv_on, waiter)
        return cast_message(frame.command, cast, frame.message)

    def get_cache(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all, the one at an index, or a slice.

        Each has ``header``, ``content``, ``called`` and ``command``. See ``cache_size``.
        """
        return self._events.get_cache(idx)

    # -- who is there

    def get_client(
        self, client: ClientRef, get_as_dict: bool = False, timeout: float | None = None
    ) -> ClientInfo | dict[str, Any]:
        """Ask the server who has a name or an address.

        :param client: a name, ``(ip, port)``, ``"ip:port"`` or a :class:`ClientInfo`.
        :param get_as_dict: return a dict.
        :param timeout: seconds to wait for the answer; ``None`` waits for ever.
        :raises ClientNotFound: nobody has it.
        :raises ServerException: the server answered with another error.
        :raises TimeoutError: no answer came in time.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        self._not_while_handling("get_client()")
        who = client if isinstance(client, str) else _address_text(client)
        waiter = ThreadWaiter()
        with self._asking:
            self._asked_for_clients.append(waiter)
            self._send_reserved(protocol.GET_CLIENT, who.encode())
        try:
            frame = self._wait(waiter, timeout)
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {timeout} seconds") from None
        answer = protocol.parse_client_answer(frame.message or b"")
        assert answer is not None
        if answer.client is not None:
            info = _info(answer.client)
            return info.as_dict() if get_as_dict else info
        if answer.traceback == protocol.NO_SUCH_CLIENT:
            raise ClientNotFound(f"no client with the name or address {who!r} is connected")
        raise ServerException(f"the server cannot tell who {who!r} is: {answer.traceback}")

    def get_server_addr(self) -> tuple[str, int]:
        """The address of the server."""
        return self.addr

    def get_client_addr(self) -> tuple[str, int]:
        """The client's own address, as the server sees it where nothing translates addresses."""
        return self._link.local_addr

    def fileno(self) -> int:
        """The socket's descriptor, for ``select`` and ``selectors``; -1 when it is closed."""
        return self._link.socket.fileno()

    def __repr__(self) -> str:
        state = "closed, was connected" if self._closed else "connected"
        return f"<{type(self).__name__} {state} to {format_addr(self.addr)}>"


class ThreadedHiSockClient(HiSockClient):
    """A client that runs in a thread of its own, beside a game loop or a user interface.

    Its handlers run in that thread. Parameters as for :class:`HiSockClient`.
    """

    _thread: threading.Thread | None = None

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Start handling what the server sends, and return.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises, and the
            :class:`ConnectionLost` when the connection ends.
        :raises RuntimeError: the client is running already.
        """
        self._prepare(callback, error_handler)
        self._thread = threading.Thread(target=self._run_thread, name="hisock-client")
        self._thread.start()

    def _run_thread(self) -> None:
        try:
            self._run()
        except ConnectionLost:
            pass  # it is logged, and everybody who waits has been told
        except SystemExit:
            pass

    def close(self, emit_leave: bool = True) -> None:
        """Close the client and wait for its thread to end, unless this is that thread."""
        super().close(emit_leave)
        thread = self._thread
        here = threading.current_thread()
        if thread is not None and thread is not here and here not in self._workers:
            thread.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the client's thread ends.

        :param timeout: seconds to wait at most; ``None`` waits for ever.
        """
        if self._thread is not None:
            self._thread.join(timeout)


def _info(client: protocol.WireClient) -> ClientInfo:
    return ClientInfo(client.ip, client.name, client.group)


def _address_text(client: Any) -> str:
    if isinstance(client, ClientInfo):
        return client.ip
    if isinstance(client, (tuple, list)):
        return format_addr(client)
    raise TypeError(f"{client!r} does not name a client; give a name, (ip, port) or 'ip:port'")


def connect(
    addr: tuple[str, int],
    name: str | None = None,
    group: str | None = None,
    header_len: int = DEFAULT_HEADER_LEN,
    cache_size: int = -1,
    **options: Any,
) -> HiSockClient:
    """Make a :class:`HiSockClient`; it has the same parameters."""
    return HiSockClient(addr, name, group, header_len, cache_size, **options)


def threaded_connect(
    addr: tuple[str, int],
    name: str | None = None,
    group: str | None = None,
    header_len: int = DEFAULT_HEADER_LEN,
    cache_size: int = -1,
    **options: Any,
) -> ThreadedHiSockClient:
    """Make a :class:`ThreadedHiSockClient`; it has the same parameters."""
    return ThreadedHiSockClient(addr, name, group, header_len, cache_size, **options)
