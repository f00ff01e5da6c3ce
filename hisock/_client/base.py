"""What the blocking and the asyncio driver of a client share, without I/O.

Who the client is, its handlers, the line of connections it goes through, and how it ends. Each
driver adds how bytes come and go, and how one waits.
"""

from __future__ import annotations

import itertools
import logging
import random
import secrets
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from hisock._client.connector import Connector
from hisock._client.endings import PASSING, End, ServerStops
from hisock._client.options import ClientOptions
from hisock._client.reconnect import OfflineBuffer
from hisock._client.session import Session
from hisock._client.threaded import ThreadedHandlers
from hisock._core import call_frames, client_answers, protocol
from hisock._core.acks import Unconfirmed
from hisock._core.client_events import ClientEvents
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Falsy, find_codec
from hisock._core.error_handlers import BoundErrorHandler, bind_error_handler
from hisock._core.faults import FaultLog, tell
from hisock._core.jobs import Job
from hisock._core.log_fields import fields
from hisock._core.parts import Parts
from hisock._core.raising import fresh
from hisock._core.reporting import one_line
from hisock._core.tracing import outgoing
from hisock._core.waiting import Waiting
from hisock._runtime.forks import forget_in_children
from hisock.exceptions import (
    ClientDisconnected,
    ClientNotFound,
    ConnectionLost,
    ConnectionRejected,
    NotSupported,
    ServerException,
)

logger = logging.getLogger("hisock.client")
#: One for all clients of the process: there may be thousands.
_faults = FaultLog(logger)


class ClientBase(ThreadedHandlers):
    """One client, whatever its connections.

    :param waiting: the waiters of ``recv``.
    :ivar session: the connection that there is, or was last.
    :ivar closed: whether the client has ended, by whichever side; ``how`` and ``ended_by`` say why.
    :raises ValueError: there is no such codec.
    """

    #: Whether it can run coroutines; see :class:`hisock._core.jobs.Runner`.
    has_loop = False
    session: Session

    def __init__(self, connector: Connector, options: ClientOptions, waiting: Waiting) -> None:
        self.connector = connector
        self.options = options
        self.name = options.name
        self.group = options.group
        self.token = options.token
        self.codec = find_codec(options.codec)
        self.waiting = waiting
        self.events = ClientEvents(
            waiting,
            self,
            self.codec,
            options.header_len,
            options.cache_size,
            reconnects=options.reconnect is not None,
        )
        self.error_handler: BoundErrorHandler | None = None
        if options.error_handler is not None:
            self.error_handler = bind_error_handler(options.error_handler)
        self.events.strict = options.strict
        self.closed = False
        self.how: End | None = None
        self.ended_by: Exception = ClientDisconnected("the client is closed; make a new one")
        self._reconnect = options.reconnect
        self._resume = None if options.reconnect is None else secrets.token_urlsafe(16)
        self._offline = OfflineBuffer(options.offline_buffer)
        self.unconfirmed = Unconfirmed(options.offline_buffer, threading.Lock())
        # Held while unconfirmed messages are written, to keep them in order.
        self._posting = threading.Lock()
        #: Features of the last server; ``None`` before its hello.
        self._known: frozenset[str] | None = None
        #: The name and group that the server confirmed last.
        self._accepted = (options.name, options.group)
        #: Whether the server says hello; 2.0.2 does not.
        self._server_greets = False
        forget_in_children(self)

    # -- what each driver implements

    @property
    def settled(self) -> bool:
        """Whether the client has ended, and all that came before that has been handled."""
        raise NotImplementedError

    def write(self, frame: bytes) -> None:
        """Send a whole frame now.

        :raises ConnectionLost: there is no connection.
        :raises ClientDisconnected: the client is closed.
        """
        raise NotImplementedError

    def await_greeting(self) -> None:
        """Wait for the server's first frame, for a short while and only where that is possible."""

    def session_ended(self, session: Any) -> None:
        """A session has ended; see :class:`hisock._client.session.Owner`."""
        raise NotImplementedError

    def message_of(self, content: Any) -> bytes | None:
        """The message bytes of what is sent, as this server takes it."""
        message = self.codec.encode(content)
        if type(message) is not Falsy:
            return message
        if self.session.features is None:
            self.await_greeting()
        features = self.session.features
        # Without a connection, assume the next server to be like the last one.
        return message.suiting(self._server_greets if features is None else bool(features))

    # -- running handlers: see hisock._core.jobs.Runner

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """Log an error of a handler, and give it to the error handler."""
        if self._is_the_end(exc):
            return
        _faults.log(exc, command, client, time.monotonic())
        tell(self.error_handler, exc, command, client, logger)

    def _is_the_end(self, exc: Exception) -> bool:
        """Whether a handler only waited for something when the client ended."""
        ended_by = self.ended_by
        return self.closed and type(exc) is type(ended_by) and exc.args == ended_by.args

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop; a driver without one registers no such handler."""
        raise NotImplementedError

    # -- the client's identity

    def hello(self, session: Session) -> bytes:
        """The first frame of a connection."""
        name, group = session.identity
        options = self.options
        return protocol.build_hello(
            *(name, group, options.header_len, options.codec, self.token),
            self._resume,
            options.admin,
        )

    @property
    def identity(self) -> tuple[str | None, str | None]:
        return self.name, self.group

    def change_name(self, new_name: str | None) -> None:
        before, name = self.name, new_name or self.options.name
        # Set first: another thread may read the server's answer before the write has returned.
        self.name = name
        try:
            self._write_reserved(protocol.CHANGE_NAME, protocol.encode_name(name))
        except BaseException:
            if self._accepted[0] != name:  # unless it has reconnected with the new name meanwhile
                self.name = before
            raise

    def change_group(self, new_group: str | None) -> None:
        before, group = self.group, new_group or self.options.group
        self.group = group
        try:
            self._write_reserved(protocol.CHANGE_GROUP, protocol.encode_name(group))
        except BaseException:
            if self._accepted[1] != group:
                self.group = before
            raise

    def _write_reserved(self, name: bytes, data: bytes = b"") -> None:
        self.write(protocol.build_reserved(name, data, self.options.header_len))

    def session_online(self, session: Session) -> None:
        """The server has let the client in with what the session's hello says."""
        self._accepted = session.identity
        self._server_greets = bool(session.features)
        self._known = session.features

    def called(self, frame: bytes, text: str | None) -> None:
        """The server said what the client is called; a change that it refused is undone."""
        name, group = self._accepted
        if frame == protocol.CHANGE_NAME:
            self.name = name = text
        else:
            self.group = group = text
        self._accepted = name, group

    def adopt(self, session: Session) -> None:
        """Be called what the server let the client back in as."""
        if session.identity != self.identity:
            said, ours = fields("renamed_by_server"), self.identity
            logger.warning("the server took %r back, not %r", session.identity, ours, extra=said)
            self.name, self.group = session.identity
        logger.info("reconnected to the server", extra=fields("reconnected"))

    def identities(self) -> list[tuple[str | None, str | None]]:
        """What to say hello with when coming back, in order, until the server lets one in.

        Not all servers tell a client that they refused to rename it. If one refuses the new name
        in a hello too, the client comes back by the one that the server knew.
        """
        return list(dict.fromkeys([self.identity, self._accepted]))

    # -- messages that are confirmed

    @property
    def keeps(self) -> bool:
        """Whether something waits to be sent on the next connection."""
        return self._offline.first is not None or len(self.unconfirmed) > 0

    def keep_unconfirmed(self, command: str, message: bytes | None) -> None:
        """Keep a message until the server confirms it.

        :raises ValueError: the client does not reconnect, or the command is not valid.
        :raises NotSupported: the server does not confirm messages.
        :raises BufferError: too much is kept already.
        """
        if self.closed:
            raise self.error()
        if self._reconnect is None:
            raise ValueError("acknowledged=True needs a client that is made with reconnect")
        if "ack" not in (self._known or ()):
            raise NotSupported(f"the server does not confirm messages, {command!r} was not sent")
        self.unconfirmed.add(command, message, self.options.header_len)

    def post(self, session: Session) -> None:
        """Write what is not confirmed and was not written on this connection, in order.

        What cannot be written is for the next connection.
        """
        if "ack" not in (session.features or ()):
            return
        with self._posting:
            try:
                while (following := self.unconfirmed.after(session.posted)) is not None:
                    session.posted, frame = following
                    session.write(frame)
            except (ConnectionLost, ClientDisconnected) as exc:
                said = fields("kept_for_later", reason=exc)
                logger.debug("the rest is sent on the next connection: %s", exc, extra=said)

    # -- calls and questions

    def require_calls(self, session: Session, command: str) -> None:
        """Refuse to call a server that does not know calls."""
        if "call" not in (session.features or ()):
            raise NotSupported(
                f"the server does not know calls, {command!r} was not sent; "
                "it is older than this client, use send() and recv()"
            )

    def begin_stream(
        self, session: Session, command: str, message: bytes | None
    ) -> tuple[int, Parts]:
        """Call for a reply in parts; returns the call's number, and what takes the parts.

        :raises NotSupported: the server does not know such calls.
        :raises ConnectionLost: the connection has ended.
        """
        if "stream" not in (session.features or ()):
            raise NotSupported(
                f"the server does not stream, {command!r} was not sent; "
                "it is older than this client, use call()"
            )
        parts = Parts(lambda: session.write_quietly(protocol.MORE, b"%d" % number))
        number = session.calls.add(parts)
        call = call_frames.Call(number, command, message, outgoing(session.features))
        session.write(call_frames.build_call(call, self.options.header_len, streams=True))
        return number, parts

    def end_stream(self, session: Session, number: int, parts: Parts) -> None:
        """Take no more parts, and tell the server if more would come."""
        session.calls.forget(number)
        if not parts.ended and not session.ended:
            session.write_quietly(protocol.CANCEL, b"%d" % number)

    def parse_client_answer(self, who: str, payload: bytes) -> ClientInfo:
        """The client in an answer to ``$GETCLT$``.

        :raises ClientNotFound: there is none.
        :raises ServerException: the server answered with another error.
        """
        answer = client_answers.parse_client_answer(payload)
        assert answer is not None, "only an answer is delivered to these waiters"
        if answer.client is not None:
            return client_answers.client_info(answer.client)
        if answer.traceback == client_answers.NO_SUCH_CLIENT:
            raise ClientNotFound(f"no client with the name or address {who!r} is connected")
        raise ServerException(f"the server cannot tell who {who!r} is: {answer.traceback}")

    # -- the connection, and its end

    @property
    def connected(self) -> bool:
        """Whether there is a connection; a client that reconnects has none for a while."""
        return not self.closed and not self.session.ended

    @property
    def awaited(self) -> int:
        """How many wait for something of the server, in whichever way."""
        return self.session.awaited + self.waiting.count

    @property
    def reconnects(self) -> bool:
        return self._reconnect is not None

    def current(self) -> Session:
        """The session to use now.

        :raises ConnectionLost: there is no connection at the moment.
        :raises ClientDisconnected: the client is closed.
        """
        if self.closed:
            raise self.error()
        session = self.session
        if session.ended:
            raise offline_error()
        return session

    def error(self) -> Exception:
        """Why the client is closed, to be raised."""
        return fresh(self.ended_by)

    def note_end(self, reason: Exception, how: End) -> None:
        """The client has ended; nothing is sent any more."""
        self.how = how
        self.events.note_unhandled()
        if isinstance(reason, (ConnectionLost, ConnectionRejected)):
            logger.warning("%s", one_line(reason), extra=fields("client_ended", reason=reason))
            self.events.note_loss()
        self.ended_by = reason
        self.closed = True

    def forget(self) -> None:
        """Be closed in a forked child, where any lock may be held by a thread that is not there."""
        reason = ClientDisconnected("the process was forked; this client is its parent's")
        self.closed, self.how, self.ended_by = True, End.CLOSED, reason
        self.forget_workers()
        self.waiting = self.events.waiting = Waiting(threading.Lock(), time.monotonic)
        self.waiting.close(reason)
        self._posting = threading.Lock()
        self.unconfirmed.lock = threading.Lock()
        self.session.forget(reason)

    def returns_after(self, session: Session) -> bool:
        """Whether the client comes back after a connection that has ended."""
        return self._reconnect is not None and session.how in PASSING

    def waits(self, lost: Exception) -> Iterator[float]:
        """Seconds to wait before each attempt to come back; the first of them is logged."""
        delays = self._delays(lost)
        for delay in itertools.islice(delays, 1):
            said = fields("reconnect_waits", reason=lost)
            logger.info("trying to come back in %.3g s: %s", delay, one_line(lost), extra=said)
            yield delay
        yield from delays

    def _delays(self, lost: Exception) -> Iterator[float]:
        assert self._reconnect is not None
        if isinstance(lost, ServerStops):
            # Wait for the server to restart, and spread the clients that reconnect.
            yield lost.seconds * (1 + random.random())
        yield from self._reconnect.delays()

    def gave_up(self, lost: Exception) -> ConnectionLost:
        assert self._reconnect is not None
        return ConnectionLost(f"{lost}; gave up after {self._reconnect.attempts} attempts")

    def leave_frame(self) -> bytes:
        return protocol.build_reserved(protocol.LEAVE, header_len=self.options.header_len)


def offline_error() -> ConnectionLost:
    return ConnectionLost("there is no connection to the server at the moment")


def leaving(emit_leave: bool) -> End:
    return End.LEFT if emit_leave else End.CLOSED
