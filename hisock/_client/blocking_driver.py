"""What a blocking client holds: how it sends, asks, loses its connection, comes back and closes."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from functools import partial

from hisock._client.base import leaving, offline_error
from hisock._client.blocking_link import LINGER_SECONDS
from hisock._client.blocking_sender import BlockingSender
from hisock._client.blocking_session import BlockingSession
from hisock._client.connector import Connector
from hisock._client.endings import PASSING, End, goodbye_in
from hisock._client.options import ClientOptions
from hisock._client.reconnect import GRACE_SECONDS
from hisock._client.returning import HANDLER_SECONDS, fire_reconnect, holds_back
from hisock._core import call_frames
from hisock._core.client_answers import client_text
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.log_fields import fields
from hisock._core.reporting import one_line
from hisock._core.tracing import outgoing
from hisock._core.waiting import ReceivedFrame
from hisock._runtime.waiters import ThreadWaiter, call_timed_out, frame_timed_out, return_frame
from hisock.exceptions import ClientDisconnected, ConnectionLost, HiSockError

logger = logging.getLogger("hisock.client")


class BlockingDriver(BlockingSender):
    """What :class:`~hisock.client.HiSockClient` holds.

    :raises ServerNotRunning: no server listens at the address, or it did not answer in time.
    :raises ConnectionRejected: the server did not let the client in.
    :raises ssl.SSLError: the server's certificate is not to be trusted, or it speaks no TLS.
    """

    def __init__(self, connector: Connector, options: ClientOptions) -> None:
        super().__init__(connector, options)
        #: Held while the offline buffer is sent, so that connections do so one after the other.
        self._sending_kept = threading.Lock()
        if options.wants_answer:
            try:
                self._greeted(options.timeout)
            except BaseException:
                self.close(emit_leave=False)
                raise

    # -- receiving and asking

    def recv(self, command: str | None, timeout: float | None) -> ReceivedFrame:
        """The next frame that no handler takes; see :meth:`hisock.HiSockClient.recv`."""
        self._not_while_handling("recv()")
        self._receives = self._has_received = True
        self.events.unhandled.waited_for(command)
        self.send_gathered()
        waiter: ThreadWaiter[ReceivedFrame] = ThreadWaiter()
        self.waiting.add((command, None), waiter, threading.current_thread())
        try:
            return self._wait(waiter, timeout)
        except TimeoutError:
            raise frame_timed_out(command, timeout, self.session.features is None) from None
        except KeyboardInterrupt:
            return_frame(waiter, self.events.put_back)
            raise
        finally:
            self.waiting.remove((command, None), waiter)

    def call(self, command: str, message: bytes | None, timeout: float | None) -> bytes | None:
        """What the server's handler returns; see :meth:`hisock.HiSockClient.call`."""
        self._not_while_handling("call()")
        try:
            return self._call(command, message, timeout)
        except TimeoutError:
            raise call_timed_out(command, timeout, self.session.features is None) from None

    def _call(self, command: str, message: bytes | None, timeout: float | None) -> bytes | None:
        began = time.monotonic()
        session = self._greeted(timeout)
        if holds_back(session):
            self._fire_news_unread()
            session.settled.wait(timeout)
        self.require_calls(session, command)
        waiter: ThreadWaiter[bytes | None] = ThreadWaiter()
        number = session.calls.add(waiter)
        try:
            trace = outgoing(session.features)
            call = call_frames.Call(number, command, message, trace)
            session.write(call_frames.build_call(call, self.options.header_len))
            left = None if timeout is None else max(0, began + timeout - time.monotonic())
            return self._wait(waiter, left)
        finally:
            session.calls.forget(number)

    def get_client(self, client: ClientRef, timeout: float | None) -> ClientInfo:
        """Who has a name or an address; see :meth:`hisock.HiSockClient.get_client`."""
        self._not_while_handling("get_client()")
        who = client_text(client)
        waiter: ThreadWaiter[ReceivedFrame] = ThreadWaiter()
        self._usable().ask_for_client(who.encode(), waiter)
        try:
            frame = self._wait(waiter, timeout)
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {timeout} seconds") from None
        return self.parse_client_answer(who, frame.message or b"")

    # -- losing the connection

    def write_failed(self, session: BlockingSession) -> None:
        """A thread could not send; see :class:`hisock._client.blocking_session.BlockingOwner`.

        The thread that reads finds the server's last frames; if none reads, this thread does.
        """
        if self._started or not self.reconnects or not self._take_turn(timeout=0):
            return
        try:
            self._end_unread(session, session.link.loss or offline_error())
        finally:
            self._end_turn()

    def session_ended(self, session: BlockingSession) -> None:
        """A connection has ended; noticed by the thread that reads, or that closes the client."""
        if session is not self.session or self.closed:
            return
        if not self.returns_after(session):
            self._end(session.reason, session.how or End.LOST)
            if session.how is End.KICKED:
                self.events.fire("force_disconnect")
            return
        with self._changing:
            if self.closed:  # meanwhile: what would end the thread below has been set already
                return
            # A thread that finds no connection fires pending events before it waits.
            self._news.append(partial(self.events.fire, "disconnect", str(session.reason)))
            self._back_or_closed.clear()
        said = fields("connection_lost", reason=session.reason)
        logger.warning("%s; reconnecting", one_line(session.reason), extra=said)
        session.handled.set()
        session.link.close()
        name = "hisock-reconnect"
        args = (session.reason,)
        thread = threading.Thread(target=self._come_back, args=args, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the system allows no more threads
            text = f"{session.reason}; there is no thread to come back with: {exc}"
            self._end(ConnectionLost(text))

    # -- coming back

    def _come_back(self, lost: Exception) -> None:
        for delay in self.waits(lost):
            # Nothing but close() sets it during the delay.
            if self._back_or_closed.wait(delay):
                return
            if self._attempt():
                self._send_kept(self.session)
                return
        self._end(self.gave_up(lost))

    def _attempt(self) -> bool:
        """Try to come back once; ``False`` to try again later."""
        rejected: Exception | None = None
        for identity in self.identities():
            try:
                session = self._connect(identity)
            except (OSError, HiSockError) as exc:
                failed = fields("reconnect_failed", reason=exc)
                logger.debug("could not reconnect: %s", exc, extra=failed)
                return False
            try:
                self._take_first_frames(session)
                if not session.ended:
                    self._use(session)
                    return True
                if session.how in PASSING:
                    return False
                rejected = session.reason
                if session.how is End.KICKED:
                    self._news.append(partial(self.events.fire, "force_disconnect"))
                    break
            except ConnectionError as exc:
                failed = fields("reconnect_failed", reason=exc)
                logger.debug("could not reconnect: %s", exc, extra=failed)
                return self.closed
            finally:
                self._attempting = None
                if session is not self.session:
                    session.link.close()
        self._end(rejected or offline_error())
        return True

    def _take_first_frames(self, session: BlockingSession) -> None:
        """Read until the server has answered the hello, or its time is over.

        :raises ConnectionLost: the connection has ended, or a server that has to say hello did not.
        """
        timeout = self.options.timeout if self._server_greets else GRACE_SECONDS
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.closed:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                if self._server_greets:
                    raise ConnectionLost(f"the server said nothing within {timeout} seconds")
                return
            frames = session.receive(left)
            said = goodbye_in(frames[:1])
            if said is None:
                session.hold(frames)
            else:
                session.end(*said)
            if frames:
                return

    def _use(self, session: BlockingSession) -> None:
        """Go on with a new connection."""
        with self._changing:
            if self.closed:
                return
            self.adopt(session)
            session.returning = self.keeps
            self.session = session
            if "reconnect" in self.events.handlers.reserved:
                fire = partial(fire_reconnect, self.events, session, session.handled.set)
                self._news.append(fire)
            else:
                session.handled.set()
            self._back_or_closed.set()

    def _send_kept(self, session: BlockingSession) -> None:
        """Send what was kept, once the handler of ``reconnect`` has ended."""
        if not session.returning:
            self.post(session)
            return
        session.handled.wait(HANDLER_SECONDS)
        try:
            with self._sending_kept:
                self.post(session)
                while (frame := self._next_kept(session)) is not None:
                    session.write(frame)
                    self._offline.drop_first()
                self.post(session)  # what was added before the end of the loop
        except (OSError, HiSockError) as exc:
            text = "the rest of what was kept goes to the next connection: %s"
            logger.debug(text, exc, extra=fields("kept_for_later", reason=exc))
        finally:
            session.settled.set()

    def _next_kept(self, session: BlockingSession) -> bytes | None:
        with self._changing:
            if session.ended:
                raise session.error()
            frame = self._offline.first
            session.returning = frame is not None
            return frame

    # -- ending

    def _end(self, reason: Exception, how: End = End.LOST, last_frame: bytes | None = None) -> None:
        """Send a last frame, handle no more frames, and fail all waiters."""
        with self._changing:
            if self.closed:
                return
            self._closed_here = how in (End.LEFT, End.CLOSED)
            self.note_end(reason, how)
            session, attempt = self.session, self._attempting
        session.end(how, reason)
        session.handled.set()
        session.batch.clear()
        if attempt is not None:
            attempt.link.abort()
        self._back_or_closed.set()
        session.link.shut(last_frame)
        self.waiting.close(reason)

    def close(self, emit_leave: bool = True) -> None:
        """Say goodbye and close; see :meth:`hisock.HiSockClient.close`."""
        if threading.get_ident() in self._batches:
            self._send_gathered_in_time()
        last_frame = self.leave_frame() if emit_leave else None
        self._end(
            ClientDisconnected("the client is closed; make a new one"),
            leaving(emit_leave),
            last_frame,
        )
        if self._handling:
            return  # close() was called by a handler; the socket is closed when the handler returns
        with self._turn_lock:
            self._wait_for_turn(None, LINGER_SECONDS)
            reading = self._reader is not None
        if reading:
            self.session.link.close()
        else:
            self.session.link.drain()
        self.workers.close()

    def _send_gathered_in_time(self) -> None:
        """Send this thread's batch, for a second: the server may take nothing any more."""
        breaking_off = threading.Timer(LINGER_SECONDS, self.session.link.abort)
        breaking_off.daemon = True
        breaking_off.start()
        try:
            with contextlib.suppress(OSError, HiSockError):
                self.send_gathered()
        finally:
            breaking_off.cancel()

    def forget(self) -> None:
        super().forget()
        if self._attempting is not None:
            self._attempting.forget(self.ended_by)
        self._turn_lock = threading.Lock()
        self._turn = threading.Condition(self._turn_lock)
        self._changing, self._sending_kept = threading.Lock(), threading.Lock()
        self._reader = None
        self._was_told = True
