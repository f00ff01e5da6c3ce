"""A client's side of the conversation with a server, without I/O.

What :class:`~hisock.client.HiSockClient`, which blocks, and
:class:`~hisock.async_client.AsyncHiSockClient` share: who the client is, its handlers, what the
server's reserved frames mean to it. Each adds how bytes come and go and how one waits.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hisock._client.options import ClientOptions
from hisock._client.reconnect import OfflineBuffer
from hisock._core import protocol
from hisock._core.addresses import format_addr
from hisock._core.calls import CallTable, build_answer
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Falsy, find_codec
from hisock._core.events import ClientEvents
from hisock._core.jobs import RawFrame, Runner
from hisock._core.reporting import one_line
from hisock._core.waiting import Frame, Waiter, Waiting
from hisock.exceptions import (
    ClientDisconnected,
    ClientNotFound,
    ConnectionLost,
    ConnectionRejected,
    NotSupported,
    ProtocolError,
    ServerException,
)

if TYPE_CHECKING:
    from hisock._runtime.sockets import RemoteAddress

logger = logging.getLogger("hisock.client")
F = TypeVar("F", bound=Callable[..., Any])


class ClientBase:
    """One client, whatever its connection.

    :param waiting: who waits in ``recv``.
    :param runner: runs the handlers that do not run on the loop, and hears of errors.
    :raises ValueError: there is no such codec.
    """

    #: Only servers tell clients apart; see :class:`hisock._core.jobs.Peer`.
    info: ClientInfo | None = None

    def __init__(
        self,
        addr: RemoteAddress,
        options: ClientOptions,
        waiting: Waiting,
        runner: Runner,
    ) -> None:
        self.addr = addr
        self._options = options
        self.name = self.original_name = options.name
        self.group = self.original_group = options.group
        self.header_len = options.header_len
        self.busy = 0
        self._codec = find_codec(options.codec)
        self._encode = self._codec.encode_exactly
        #: Whether the server is of this version or of 2.0.2; ``None`` until its first frame.
        self._modern_server: bool | None = None
        self._waiting = waiting
        self._events = ClientEvents(
            waiting,
            runner,
            self._codec,
            options.header_len,
            options.cache_size,
            reconnects=options.reconnect is not None,
        )
        self._calls = CallTable()
        self._reconnect = options.reconnect
        self._resume = None if options.reconnect is None else secrets.token_urlsafe(16)
        self._offline = OfflineBuffer(options.offline_buffer)
        #: Whether there is a connection; without ``reconnect``, until the client is closed.
        self._online = True
        self._asked_for_clients: deque[Waiter] = deque()
        #: Who wants to know what the server's first frame is.
        self._awaiting_answer: deque[Waiter] = deque()
        #: Whether the server knows calls; ``None`` until its first frame.
        self._server_knows_calls: bool | None = None
        self._closed = False
        #: Why the client is closed.
        self._ended_by: Exception = ClientDisconnected("the client is closed")

    def _message_of(self, content: Any) -> bytes | None:
        """The message bytes of what is sent, as this server takes it."""
        message = self._codec.encode(content)
        if type(message) is not Falsy:
            return message
        if self._modern_server is None:
            self._await_greeting()
        return message.suiting(self._modern_server is True)

    # -- what a driver adds

    def _await_greeting(self) -> None:
        """Wait for the server's first frame, for a short while and only where that is possible."""

    def _write(self, frame: bytes) -> None:
        """Send a whole frame."""
        raise NotImplementedError

    def _reply_by(self) -> Callable[[bytes], Any]:
        """What sends a frame on the connection that the frame being handled came by."""
        raise NotImplementedError

    def _stop(self, last_frame: bytes | None) -> None:
        """Send at most one more frame, handle no more, and close."""
        raise NotImplementedError

    # -- handlers

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
        replace: bool = False,
    ) -> Callable[[F], F]:
        """Register a handler: ``@client.on("command")``.

        Handlers of commands take ``(message)`` or nothing; the annotation of the message says what
        it is cast to. What a handler returns is the reply, if the command came as a call. The
        reserved events are ``client_connect(info)``, ``client_disconnect(info)``,
        ``force_disconnect()`` and ``*(command, message)`` for what nobody else takes; with
        ``reconnect`` also ``disconnect(reason)`` and ``reconnect()``.

        :param command: what it handles.
        :param threaded: run it in a thread of its own, where it may block.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :param concurrent: for ``async def``: handle what comes next without waiting for its end.
        :param replace: take the place of a handler that is registered already; without it, a
            second one does so with a warning.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._events.on(command, threaded, override, concurrent, replace)

    def get_cache(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all, the one at an index, or a slice.

        Each has ``header``, ``content``, ``called`` and ``command``. See ``cache_size``.
        """
        return self._events.cache.get(idx)

    # -- frames without a command

    def _hello(self) -> bytes:
        return protocol.build_hello(
            self.name,
            self.group,
            self.header_len,
            self._codec.name,
            self._options.token,
            self._resume,
        )

    def take_raw(self, payload: bytes) -> None:
        """Take a frame without a command."""
        try:
            reserved = protocol.split_reserved(payload)
            if reserved is not None:
                self._take_reserved(*reserved)
                return
        except ProtocolError as exc:
            self._end(ConnectionLost(f"the server broke the protocol: {exc}"))
            return
        if self._asked_for_clients and protocol.parse_client_answer(payload) is not None:
            self._asked_for_clients.popleft().deliver(Frame(None, payload))
        else:
            self._events.handle(self, None, payload)

    def _take_reserved(self, name: bytes, data: bytes) -> None:
        if name == protocol.KEEPALIVE:
            self._write_reserved(protocol.KEEPALIVE_ACK)
        elif name == protocol.DISCONNECT:
            self._end(ClientDisconnected("the server disconnected the client"))
            self._events.fire("force_disconnect")
        elif name == protocol.CLIENT_JOINED:
            self._events.fire("client_connect", client_info(protocol.parse_client(data)))
        elif name == protocol.CLIENT_LEFT:
            self._events.fire("client_disconnect", client_info(protocol.parse_client(data)))
        elif name == protocol.CALL:
            self._answer(protocol.parse_call(data))
        elif name == protocol.REPLY:
            if not self._calls.take_reply(protocol.parse_reply(data)):
                logger.debug("a reply came that nobody waits for")
        elif name == protocol.REJECT:
            self._end(ConnectionRejected(data.decode("utf-8", "replace")))
        else:
            raise protocol.unexpected(name, "client")

    def _take_greeting(self, frames: list[RawFrame]) -> list[RawFrame]:
        """Learn from the first frames of a new connection what the server knows.

        A server of this version says hello before anything else; 2.0.2 never does.

        :returns: the frames that are left to handle.
        """
        command, payload = frames[0]
        try:
            reserved = protocol.split_reserved(payload or b"") if command is None else None
            name, data = reserved or (b"", b"")
            if name in (protocol.REJECT, protocol.DISCONNECT):
                return frames
            if name == protocol.SERVER_HELLO:
                hello = protocol.parse_server_hello(data)
                self._require_codec(hello.codec)
                self._server_knows_calls = "call" in hello.features
                self._modern_server = True
                frames = frames[1:]
            else:
                self._require_codec("json")
                self._server_knows_calls = self._modern_server = False
        except (ProtocolError, ConnectionRejected) as exc:
            lost = ConnectionLost(f"the server broke the protocol: {exc}")
            self._end(exc if isinstance(exc, ConnectionRejected) else lost)
            return []
        while self._awaiting_answer:
            self._awaiting_answer.popleft().deliver(Frame(None, None))
        return frames

    def _require_codec(self, theirs: str) -> None:
        if theirs != self._codec.name:
            raise ConnectionRejected(
                f"the server's codec is {theirs!r}, this client's {self._codec.name!r}"
            )

    def change_name(self, new_name: str | None) -> None:
        """Go by another name.

        :param new_name: ``None`` or empty for the one that the client connected with.
        :raises ValueError: it is longer than 1024 characters.
        """
        name = new_name or self.original_name
        self._write_reserved(protocol.CHANGE_NAME, protocol.encode_name(name))
        self.name = name

    def change_group(self, new_group: str | None) -> None:
        """Move to another group.

        :param new_group: ``None`` or empty for the one that the client connected with.
        :raises ValueError: it is longer than 1024 characters.
        """
        group = new_group or self.original_group
        self._write_reserved(protocol.CHANGE_GROUP, protocol.encode_name(group))
        self.group = group

    def _write_reserved(self, name: bytes, data: bytes = b"") -> None:
        self._write(protocol.build_reserved(name, data, self.header_len))

    # -- calls

    def _answer(self, call: protocol.Call) -> None:
        # On the connection that the call came by: on another, the number may be another call's.
        write = self._reply_by()

        def done(result: Any, exc: BaseException | None) -> None:
            frame = build_answer(call, result, exc, self._events, None, self.header_len)
            try:
                write(frame)
            except ConnectionError:
                logger.debug("the connection ended before call %d was answered", call.number)

        self._events.call(self, call.command, call.message, done)

    def _require_calls(self, command: str) -> None:
        if not self._server_knows_calls:
            raise NotSupported(
                f"the server does not know calls, {command!r} was not sent; "
                "it is older than this client, use send() and recv()"
            )

    # -- losing the connection, and coming back

    def _go_offline(self, reason: ConnectionLost) -> None:
        """The connection ended without a goodbye, and the client is to come back."""
        self._online = False
        logger.warning("%s; reconnecting", one_line(reason))
        self._server_knows_calls = None
        self._fail_askers(reason)

    def _come_online(self) -> None:
        """There is a new connection, on which the hello has been said."""
        self._online = True
        self._calls.reopen()
        logger.info("reconnected to the server")

    def _offline_error(self) -> ConnectionLost:
        return ConnectionLost("there is no connection to the server at the moment")

    # -- ending

    def _end(self, reason: Exception, last_frame: bytes | None = None) -> None:
        """Send nothing more, handle nothing more, and tell whoever waits."""
        if isinstance(reason, (ConnectionLost, ConnectionRejected)):
            logger.warning("%s", one_line(reason))
        self._ended_by = reason
        self._closed = True
        self._stop(last_frame)
        self._fail_waiters(reason)

    def _fail_waiters(self, reason: Exception) -> None:
        self._waiting.close(reason)
        self._fail_askers(reason)

    def _fail_askers(self, reason: Exception) -> None:
        """Tell those who wait for an answer of the server, but not those who wait for a frame."""
        lost = ConnectionLost(f"no reply can come any more: {reason}")
        self._calls.fail_all(lost)
        for waiters in (self._asked_for_clients, self._awaiting_answer):
            while waiters:
                waiters.popleft().fail(reason)

    def _leave_frame(self) -> bytes:
        return protocol.build_reserved(protocol.LEAVE, header_len=self.header_len)

    @property
    def closed(self) -> bool:
        """Whether the client is closed, by whichever side."""
        return self._closed

    @property
    def connected(self) -> bool:
        """Whether there is a connection; a client that reconnects has none for a while."""
        return self._online and not self._closed

    # -- who is there

    def _parse_client_answer(self, who: str, payload: bytes) -> ClientInfo:
        """The client in an answer to ``$GETCLT$``.

        :raises ClientNotFound: there is none.
        :raises ServerException: the server answered with another error.
        """
        answer = protocol.parse_client_answer(payload)
        assert answer is not None, "only an answer is delivered to those who asked"
        if answer.client is not None:
            return client_info(answer.client)
        if answer.traceback == protocol.NO_SUCH_CLIENT:
            raise ClientNotFound(f"no client with the name or address {who!r} is connected")
        raise ServerException(f"the server cannot tell who {who!r} is: {answer.traceback}")

    def get_server_addr(self) -> Any:
        """The address of the server."""
        return self.addr


def client_info(client: protocol.WireClient) -> ClientInfo:
    return ClientInfo(client.ip, client.name, client.group)


def client_text(client: Any) -> str:
    """A name or an address as the text that ``$GETCLT$`` takes."""
    if isinstance(client, str):
        return client
    if isinstance(client, ClientInfo):
        return client.ip
    if isinstance(client, (tuple, list)):
        return format_addr(client)
    raise TypeError(f"{client!r} does not name a client; give a name, (ip, port) or 'ip:port'")
