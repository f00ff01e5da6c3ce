"""One connection of a client, as a state machine without I/O.

All that belongs to one connection is in its session: what the server knows, the calls and
questions that wait for answers, the frames that have come and wait for a handler. It is made with
the connection and discarded whole with it, so nothing of an old connection reaches the next one.

    connecting -> greeting -> online -> ended
        (lost | sent away | kicked | rejected | left | closed)
"""

from __future__ import annotations

import enum
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from hisock._client.answering import answer, answer_at_once
from hisock._client.endings import End, read_goodbye
from hisock._client.options import ClientOptions
from hisock._client.vigil import NOBODY
from hisock._core import call_frames, client_answers, protocol
from hisock._core.acks import Unconfirmed, parse_acknowledgement
from hisock._core.calls import CallTable, RunningCalls
from hisock._core.client_answers import client_info
from hisock._core.client_events import ClientEvents
from hisock._core.client_info import ClientInfo
from hisock._core.log_fields import fields
from hisock._core.raising import fresh
from hisock._core.waiting import ReceivedFrame, Waiter
from hisock.exceptions import (
    ClientDisconnected,
    ConnectionLost,
    ConnectionRejected,
    ProtocolError,
)
from hisock.framing import Frame, split_reply

logger = logging.getLogger("hisock.client")


class State(enum.Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    #: The hello has been sent; the server has not answered yet.
    GREETING = "greeting"
    ONLINE = "online"
    ENDED = "ended"


class Owner(Protocol):
    """The client that a session belongs to."""

    events: ClientEvents
    unconfirmed: Unconfirmed
    options: ClientOptions

    def session_online(self, session: Any) -> None:
        """The server has let the client in."""

    def session_ended(self, session: Any) -> None:
        """A session has ended, for whichever reason; called once for each."""

    def called(self, frame: bytes, text: str | None) -> None:
        """The server said what the client's name is, or its group, as ``frame`` says."""


class Session:
    """One connection.

    :param identity: the name and the group that its hello says.
    :ivar state: changed by :meth:`take_greeting` and :meth:`end` only.
    :ivar ended: whether ``state`` says so; asked for each message.
    :ivar header_len: digits of a frame's length.
    :ivar how: how it ended, and ``reason`` the exception that says why.
    :ivar features: what the server knows beyond 2.0.2; ``None`` until its first frame.
    :ivar posted: the last number of the messages to be confirmed that were written on it.
    :ivar returning: whether what was kept without a connection has yet to be sent on this one.
    """

    __slots__ = (
        *("_asked_for_clients", "_asking", "_awaiting_greeting", "_changing"),
        *("_keepalive", "answering", "batch", "busy", "calls", "ended", "features", "header_len"),
        *("how", "identity", "owner", "posted", "reason", "returning", "state"),
    )

    #: Only servers tell clients apart; see :class:`hisock._core.jobs.Peer`.
    info: ClientInfo | None = None

    def __init__(self, owner: Owner, identity: tuple[str | None, str | None]) -> None:
        self.owner = owner
        self.identity = identity
        self.busy = 0
        self.returning = False
        self.posted = 0
        self.state = State.CONNECTING
        self.ended = False
        self.how: End | None = None
        self.reason: Exception = ClientDisconnected("the client is closed; make a new one")
        self.features: frozenset[str] | None = None
        self.calls = CallTable(owner.events.codec)
        self.answering = RunningCalls()
        #: The batch being dispatched; cleared to stop its dispatch.
        self.batch: list[Frame] = []
        self._keepalive: float | None = None
        self.header_len = owner.options.header_len
        self._changing = threading.Lock()
        # Held while a request is queued and written, so that both have the same order.
        self._asking = threading.Lock()
        # Waiters for answers to $GETCLT$, which arrive in the order of the requests.
        self._asked_for_clients: list[Waiter] = []
        self._awaiting_greeting: list[Waiter] = []

    # -- what each driver implements

    def write(self, frame: bytes) -> None:
        """Send a whole frame.

        :raises ConnectionLost: the connection has ended.
        """
        raise NotImplementedError

    def write_answer(self, frame: bytes) -> None:
        """Send a whole frame that the server has asked for; see :meth:`write`."""
        self.write(frame)

    def defer(self, frames: Iterator[Frame]) -> None:
        """Keep frames until the handlers that run have ended."""
        raise NotImplementedError

    # -- transitions

    def end(self, how: End, reason: Exception) -> bool:
        """The connection is over: fail the waiters for answers, and notify the owner.

        :returns: whether this ended it; the first end counts.
        """
        if how is End.SENT_AWAY and self.owner.options.reconnect is None:
            how, reason = End.KICKED, ClientDisconnected("the server was closed")
        with self._changing:
            if self.state is State.ENDED:
                return False
            self.state, self.how, self.reason, self.ended = State.ENDED, how, fresh(reason), True
            waiters = [*self._asked_for_clients, *self._awaiting_greeting]
            self._asked_for_clients.clear()
            self._awaiting_greeting.clear()
        self.calls.fail_all(ConnectionLost(f"no reply can come any more: {reason}"))
        for waiter in waiters:
            waiter.fail(fresh(reason))
        self.owner.session_ended(self)
        return True

    def take_greeting(self, frames: list[Frame]) -> list[Frame]:
        """Learn from the first frames of the connection what the server knows.

        A server of this version says hello before anything else; 2.0.2 never does. A rejection or
        a goodbye as the first frame is left to be handled, and the session is not online.

        :returns: the frames that are left to handle.
        """
        try:
            name, data = _reserved(frames[0])
            if read_goodbye(name, data) is not None:
                return frames
            if name == protocol.SERVER_HELLO:
                self._take_hello(protocol.parse_server_hello(data))
                frames = frames[1:]
            else:
                self._require_codec("json")
                self.features = frozenset()
        except ConnectionRejected as exc:
            self.end(End.REJECTED, exc)
            return []
        except ProtocolError as exc:
            self._break(exc)
            return []
        self._go_online()
        return frames

    def _take_hello(self, hello: protocol.ServerHello) -> None:
        self._require_codec(hello.codec)
        self.features = _shared(tuple(hello.features))
        self._keepalive = hello.keepalive_interval

    def _require_codec(self, theirs: str) -> None:
        ours = self.owner.options.codec
        if theirs != ours:
            raise ConnectionRejected(f"the server's codec is {theirs!r}, this client's {ours!r}")

    def _go_online(self) -> None:
        with self._changing:
            if self.state is State.ENDED:
                return
            self.state = State.ONLINE
            waiters = list(self._awaiting_greeting)
            self._awaiting_greeting.clear()
        self.owner.session_online(self)
        for waiter in waiters:
            waiter.deliver(ReceivedFrame(None, None))

    def _break(self, exc: ProtocolError) -> None:
        self.end(End.LOST, ConnectionLost(f"the server broke the protocol: {exc}"))

    @property
    def awaited(self) -> int:
        """How many wait for a reply or another answer of the server."""
        return len(self.calls) + len(self._asked_for_clients) + len(self._awaiting_greeting)

    @property
    def silence(self) -> float | None:
        """Seconds between the server's keepalives; ``None`` if it has none, or did not say."""
        return self._keepalive

    def forget(self, reason: Exception) -> None:
        """End in a forked child, without failing the waiters, which are the parent's."""
        self.state, self.how, self.reason, self.ended = State.ENDED, End.CLOSED, reason, True
        self._changing, self._asking = threading.Lock(), threading.Lock()
        self.calls = CallTable(self.owner.events.codec)
        self.batch = []

    def error(self) -> Exception:
        """Why it ended, as an exception that can be raised: each raise has its own traceback."""
        return fresh(self.reason)

    # -- waiters

    def await_greeting(self, waiter: Waiter) -> bool:
        """Add a waiter for the server's first frame; ``False`` if that has arrived already.

        :raises ConnectionError: the session has ended.
        """
        with self._changing:
            if self.state is State.ENDED:
                raise self.error()
            if self.state is State.ONLINE:
                return False
            self._awaiting_greeting.append(waiter)
            return True

    def forget_greeting(self, waiter: Waiter) -> None:
        """Remove such a waiter."""
        with self._changing:
            if waiter in self._awaiting_greeting:
                self._awaiting_greeting.remove(waiter)

    def ask_for_client(self, who: bytes, waiter: Waiter) -> None:
        """Ask with ``$GETCLT$``; the waiter gets the answer.

        :raises ConnectionError: the question could not be sent.
        """
        question = protocol.build_reserved(protocol.GET_CLIENT, who, self.header_len)
        with self._asking:
            with self._changing:
                if self.state is State.ENDED:
                    raise self.error()
                self._asked_for_clients.append(waiter)
            try:
                self.write(question)
            except BaseException:
                # A request that was not written gets no answer, so the next one is not its answer.
                with self._changing:
                    if waiter in self._asked_for_clients:
                        self._asked_for_clients.remove(waiter)
                raise

    def probe(self, write: Callable[[bytes], bool]) -> None:
        """Ask the server something, to see whether it is there; never waits.

        :param write: sends a frame if that is possible at once, and says whether it was.
        """
        if not self._asking.acquire(blocking=False):
            return  # another thread has sent the request already
        try:
            with self._changing:
                self._asked_for_clients.append(NOBODY)
            if not write(protocol.build_reserved(protocol.GET_CLIENT, b"", self.header_len)):
                with self._changing:
                    if NOBODY in self._asked_for_clients:  # not if it has ended meanwhile
                        self._asked_for_clients.remove(NOBODY)
        finally:
            self._asking.release()

    # -- frames without a command

    def take_raw(self, payload: bytes) -> None:
        """Take a frame without a command."""
        reply = split_reply(payload)
        if reply is not None:
            self._note_late(self.calls.take_message(*reply))
            return
        if answer_at_once(self, self.owner.events, payload):
            return
        try:
            reserved = protocol.split_reserved(payload)
            if reserved is not None:
                self._take_reserved(*reserved)
                return
        except ProtocolError as exc:
            self._break(exc)
            return
        if not self.take_client_answer(payload):
            self.owner.events.handle(self, None, payload)

    def take_client_answer(self, payload: bytes) -> bool:
        """Deliver the answer to a ``$GETCLT$``, if it is one, to the oldest waiter."""
        if not self._asked_for_clients or client_answers.parse_client_answer(payload) is None:
            return False
        with self._changing:
            waiter = self._asked_for_clients.pop(0) if self._asked_for_clients else None
        if waiter is not None:
            waiter.deliver(ReceivedFrame(None, payload))
        return waiter is not None

    def _take_reserved(self, name: bytes, data: bytes) -> None:
        take = _TAKEN.get(name)
        if take is not None:
            take(self, data)
        elif name in protocol.CHANGES:
            self.owner.called(name, protocol.parse_text(name, data) or None)
        elif (goodbye := read_goodbye(name, data)) is not None:
            self.end(*goodbye)
        else:
            raise protocol.unexpected(name, "client")

    def _answer_keepalive(self, _data: bytes) -> None:
        self.write_quietly(protocol.KEEPALIVE_ACK)

    def _client_joined(self, data: bytes) -> None:
        self.owner.events.fire("client_connect", client_info(protocol.parse_client(data)))

    def _client_left(self, data: bytes) -> None:
        self.owner.events.fire("client_disconnect", client_info(protocol.parse_client(data)))

    def _take_call(self, data: bytes) -> None:
        answer(self, self.owner.events, call_frames.parse_call(data))

    def _take_reply(self, data: bytes) -> None:
        self._note_late(self.calls.take_reply(call_frames.parse_reply(data)))

    def _note_late(self, taken: bool) -> None:
        if not taken:
            logger.debug("a reply came that nobody waits for", extra=fields("reply_late"))

    def _take_part(self, data: bytes) -> None:
        self.calls.take_part(*call_frames.parse_part(data))

    def _cancel(self, data: bytes) -> None:
        self.answering.cancel(call_frames.parse_cancel(data))

    def _confirmed(self, data: bytes) -> None:
        self.owner.unconfirmed.confirm(parse_acknowledgement(data))

    def write_quietly(self, name: bytes, data: bytes = b"") -> None:
        """Send a reserved frame of the protocol's own; a connection that ends needs none."""
        try:
            self.write_answer(protocol.build_reserved(name, data, self.header_len))
        except ConnectionError:
            said = fields("frame_unsent", reason=name.decode())
            logger.debug("the connection ended before %s was sent", name.decode(), extra=said)


#: What a server may send, apart from goodbyes and changes of name and group.
_TAKEN: dict[bytes, Callable[[Session, bytes], None]] = {
    protocol.KEEPALIVE: Session._answer_keepalive,
    protocol.CLIENT_JOINED: Session._client_joined,
    protocol.CLIENT_LEFT: Session._client_left,
    protocol.CALL: Session._take_call,
    protocol.REPLY: Session._take_reply,
    protocol.PART: Session._take_part,
    protocol.CANCEL: Session._cancel,
    protocol.ACKNOWLEDGE: Session._confirmed,
}


def _reserved(frame: Frame) -> tuple[bytes, bytes]:
    """The name and the data of a reserved frame; no name for any other."""
    command, payload = frame
    return (command is None and protocol.split_reserved(payload or b"")) or (b"", b"")


@functools.lru_cache(maxsize=16)
def _shared(features: tuple[str, ...]) -> frozenset[str]:
    """The same set for all connections to servers of one kind."""
    return frozenset(features)
