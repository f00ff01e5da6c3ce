"""What an asynchronous client holds: its connections one after the other, and its handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator
from typing import Any

from hisock._client.asyncio_link import LINGER_SECONDS, AsyncioSession
from hisock._client.asyncio_reader import AsyncioReader
from hisock._client.base import leaving, offline_error
from hisock._client.connector import Connector
from hisock._client.endings import End
from hisock._client.options import ClientOptions
from hisock._client.reconnect import GRACE_SECONDS
from hisock._client.returning import HANDLER_SECONDS, fire_reconnect, holds_back
from hisock._client.session import State
from hisock._core import protocol
from hisock._core.client_answers import client_text
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.log_fields import fields
from hisock._core.parts import Ended
from hisock._core.reporting import one_line
from hisock._core.waiting import ReceivedFrame
from hisock._runtime.flag import Flag
from hisock._runtime.patience import within
from hisock._runtime.sockets import address_text
from hisock._runtime.tasks import Tasks
from hisock._runtime.waiters import LoopWaiter, call_timed_out, part_timed_out
from hisock.exceptions import (
    ClientDisconnected,
    ConnectionLost,
    ConnectionRejected,
    HiSockError,
    ServerNotRunning,
)
from hisock.framing import build_command

#: Iterations of the loop until the task that awaits a client resumes, even through other tasks.
_TURNS_TO_REGISTER = 4

logger = logging.getLogger("hisock.client")


class AsyncioDriver(AsyncioReader):
    """What :class:`~hisock.async_client.AsyncHiSockClient` holds, on the running loop."""

    def __init__(self, connector: Connector, options: ClientOptions) -> None:
        super().__init__(connector, options)
        self._made = False
        # Guards what is sent before there is a connection again.
        self._changing = threading.Lock()

    async def connect(self) -> None:
        """Connect, and wait until the server has answered the hello.

        A server that says nothing to a client which needs no answer is used all the same, after a
        short while. Nothing is left behind if this fails or is given up.

        :raises ServerNotRunning: no server listens at the address.
        :raises TimeoutError: the server did not let in a client that has a token or another codec.
        :raises ConnectionRejected: the server did not let the client in.
        """
        try:
            await self._attach(self.session)
            await self._joined()
        except BaseException:
            self._end(ClientDisconnected("the client was never connected"), End.CLOSED)
            self.session.abort()
            raise
        self._made = True
        self._release_in(_TURNS_TO_REGISTER)

    async def _joined(self) -> None:
        timeout = self.options.timeout
        if self.options.wants_answer:
            await self._greeted(timeout)
            return
        with contextlib.suppress(TimeoutError):
            await self._greeted(GRACE_SECONDS if timeout is None else min(timeout, GRACE_SECONDS))

    def _release_in(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._release_in, turns - 1)
        else:
            self.release()

    async def _attach(self, session: AsyncioSession) -> None:
        timeout = self.options.timeout
        try:
            await within(timeout, self.connector.attach(session))
        except (TimeoutError, asyncio.TimeoutError) as exc:
            session.abort()
            where = address_text(self.connector.addr)
            raise ServerNotRunning(f"no server answers at {where} in {timeout} s") from exc
        except BaseException:
            session.abort()
            raise
        if session.ended:  # it was hung up at once, and uvloop refuses to write
            raise session.error()
        session.write_now(self.hello(session))

    # -- losing the connection

    def session_ended(self, session: AsyncioSession) -> None:
        """A connection has ended; what came by it and needs no answer is still handled."""
        session.inbox.drop_calls()
        session.batch.clear()
        if session is not self.session or self.closed:
            return
        if not self.returns_after(session) or not self._made:
            self._end(session.reason, session.how or End.LOST)
            return
        session.abort()
        said = fields("connection_lost", reason=session.reason)
        logger.warning("%s; reconnecting", one_line(session.reason), extra=said)
        self.events.fire("disconnect", str(session.reason))
        self._tasks.add(self._loop.create_task(self._come_back(session.reason)))

    # -- coming back

    async def _come_back(self, lost: Exception) -> None:
        for delay in self.waits(lost):
            await asyncio.sleep(delay)
            await self.short_line()
            if await self._attempt():
                return
        self._end(self.gave_up(lost))

    async def _attempt(self) -> bool:
        """Try to come back once; ``False`` to try again later."""
        reason: Exception = offline_error()
        for identity in self.identities():
            session = AsyncioSession(self, identity)
            try:
                await self._attach(session)
                await self._take_first_frame(session)
                await self._use(session)
            except (ConnectionRejected, ClientDisconnected) as exc:
                reason = exc
            except (OSError, HiSockError) as exc:
                failed = fields("reconnect_failed", reason=exc)
                logger.debug("could not reconnect: %s", exc, extra=failed)
                return False
            else:
                return True
            finally:
                if session is not self.session:
                    session.abort()
            if session.how is End.KICKED:
                break
        self._end(reason, session.how or End.REJECTED)
        return True

    async def _take_first_frame(self, session: AsyncioSession) -> None:
        """Wait until the server has answered the hello, or its time is over.

        :raises ConnectionLost: the connection has ended, or a server that has to say hello did not.
        :raises ConnectionRejected: the server did not let the client in.
        """
        timeout = self.options.timeout if self._server_greets else GRACE_SECONDS
        waiter: LoopWaiter[ReceivedFrame] = LoopWaiter()
        try:
            if session.await_greeting(waiter):
                await waiter.wait(timeout)
        except TimeoutError:
            if self._server_greets:
                raise ConnectionLost(f"the server said nothing within {timeout} s") from None
        finally:
            session.forget_greeting(waiter)

    async def _use(self, session: AsyncioSession) -> None:
        """Go on with a new connection.

        :raises ConnectionLost: it has ended again.
        """
        with self._changing:
            if session.ended:
                raise session.error()
            session.returning = self.keeps
            self.session = session
        self.adopt(session)
        self._line.append(session)
        session.pauses.set("unread", self._unread is not None and self._unread.full)
        handled = asyncio.Event()
        fire_reconnect(self.events, session, lambda: self._loop.call_soon_threadsafe(handled.set))
        frames = session.inbox.take_all()
        self._go_on()
        if frames:
            self._take(session, frames)
        if session.returning:
            self._tasks.add(self._loop.create_task(self._send_kept(session, handled)))
        else:
            self.post(session)

    async def _send_kept(self, session: AsyncioSession, handled: asyncio.Event) -> None:
        """Send what was kept, once the handler of ``reconnect`` has ended."""
        with contextlib.suppress(asyncio.TimeoutError):
            await within(HANDLER_SECONDS, handled.wait())
        try:
            self.post(session)
            session.flush()
            while (frame := self._next_kept(session)) is not None:
                await session.hand_over(frame)
                self._offline.drop_first()
            self.post(session)  # what was added before the end of the loop
        except (OSError, HiSockError) as exc:
            text = "the rest of what was kept goes to the next connection: %s"
            logger.debug(text, exc, extra=fields("kept_for_later", reason=exc))
        finally:
            session.settled.set()

    def _next_kept(self, session: AsyncioSession) -> bytes | None:
        with self._changing:
            if session.ended:
                raise session.error()
            frame = self._offline.first
            session.returning = frame is not None
            return frame

    # -- sending

    def write(self, frame: bytes) -> None:
        self.current().write(frame)

    def current(self) -> AsyncioSession:
        super().current()
        return self.session

    def send(self, command: str, message: bytes | None) -> None:
        """Queue a command, or keep it for the next connection."""
        if self.closed:
            raise self.error()
        self.waiting.sent(self.sender())
        session = self.session
        if session.ended or session.returning or not session.outbox.send(command, message):
            self._send_offline(build_command(command, message, self.options.header_len))

    def send_many(self, frames: list[bytes]) -> None:
        """Queue frames, or keep them for the next connection."""
        if self.closed:
            raise self.error()
        self.waiting.sent(self.sender())
        session = self.session
        for frame in frames:
            if session.ended or session.returning or not session.outbox.write(frame):
                self._send_offline(frame)

    def send_acknowledged(self, command: str, message: bytes | None) -> None:
        """Queue a message that is kept until the server confirms it."""
        self.waiting.sent(self.sender())
        self.keep_unconfirmed(command, message)
        session = self.session
        if not session.ended and not session.returning:
            self.post(session)

    def _send_offline(self, frame: bytes) -> None:
        with self._changing:
            if self.closed:
                raise self.error()
            session = self.session
            if session.ended or holds_back(session):
                if not self._offline.add(frame):
                    raise offline_error()
                return
        session.write(frame)

    async def drain(self) -> None:
        """Wait until most of what was sent has been written to the connection."""
        self.on_own_loop("drain()")
        await self.session.drain()
        if self.closed:
            raise self.error()

    # -- asking

    async def call(self, command: str, message: bytes | None, timeout: float | None) -> Any:
        """What the server's handler returns, as bytes."""
        self.on_own_loop("call()")
        session, left, number = self.session, timeout, None
        try:
            if session.state is not State.ONLINE or session.returning:
                session, left = await self._usable(timeout)
            self.require_calls(session, command)
            waiter: LoopWaiter[bytes | None] = LoopWaiter(self._loop)
            number = session.calls.add(waiter)
            session.write_call(number, command, message)
            if len(session.calls) == 1:  # many at once are written together
                session.flush_now()
            return await waiter.wait(left, self.deadlines)
        except TimeoutError:
            raise call_timed_out(command, timeout, self.session.features is None) from None
        except asyncio.CancelledError:
            if number is not None and "cancel" in (session.features or ()):
                session.write_quietly(protocol.CANCEL, b"%d" % number)
            raise
        finally:
            if number is not None:
                session.calls.forget(number)

    async def _usable(self, timeout: float | None) -> tuple[AsyncioSession, float | None]:
        """The connection, once calls can be sent on it, and how much time is left then."""
        began = self._loop.time()
        session = await self._greeted(timeout)
        if holds_back(session):
            with contextlib.suppress(asyncio.TimeoutError):
                await within(timeout, session.settled.wait())
            if session.ended:
                raise session.error()
        return session, None if timeout is None else began + timeout - self._loop.time()

    async def stream(
        self, command: str, message: bytes | None, timeout: float | None
    ) -> AsyncGenerator[bytes | None, None]:
        """The parts of what the server's handler yields; see :meth:`call`."""
        self.on_own_loop("stream()")
        session = await self._greeted(timeout)
        number, parts = self.begin_stream(session, command, message)
        try:
            while True:
                waiter: LoopWaiter[None] = LoopWaiter()
                if parts.wake(waiter):
                    await waiter.wait(timeout)
                part = parts.pop()
                if isinstance(part, Ended):
                    return
                yield part
        except TimeoutError:
            raise part_timed_out(command, timeout) from None
        finally:
            self.end_stream(session, number, parts)

    async def _greeted(self, timeout: float | None) -> AsyncioSession:
        """The connection, once the server's first frame says whether it let the client in."""
        session = self.current()
        waiter: LoopWaiter[ReceivedFrame] = LoopWaiter()
        try:
            if session.await_greeting(waiter):
                await waiter.wait(timeout)
        except TimeoutError:
            raise TimeoutError(f"the server said nothing within {timeout} seconds") from None
        finally:
            session.forget_greeting(waiter)
        return session

    async def get_client(self, client: ClientRef, timeout: float | None) -> ClientInfo:
        """Who has a name or an address."""
        self.on_own_loop("get_client()")
        who = client_text(client)
        waiter: LoopWaiter[ReceivedFrame] = LoopWaiter()
        self.current().ask_for_client(who.encode(), waiter)
        try:
            frame = await waiter.wait(timeout)
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {timeout} seconds") from None
        return self.parse_client_answer(who, frame.message or b"")

    def local_address(self) -> Any:
        """Where the current connection is bound on this side."""
        name = self.current().transport.get_extra_info("sockname")
        return name[:2] if isinstance(name, tuple) else name

    # -- ending

    def _end(self, reason: Exception, how: End = End.LOST, last_frame: bytes | None = None) -> None:
        """Send a last frame, and fail all waiters."""
        if self.closed:
            return
        self.note_end(reason, how)
        session = self.session
        session.end(how, reason)
        if session.how is End.LOST:
            session.abort()
        else:
            session.shut(last_frame)
        if not self._holding:  # else release() does, after the frames that are held
            self._fail_readers(reason)
        self._ended.set()
        self._go_on()

    async def close(self, emit_leave: bool = True) -> None:
        """Say goodbye and close; see :meth:`hisock.AsyncHiSockClient.close`."""
        last_frame = self.leave_frame() if emit_leave else None
        closed = ClientDisconnected("the client is closed; make a new one")
        self._end(closed, leaving(emit_leave), last_frame)
        for session in self._line:
            session.inbox.take_all()
        await self._tasks.cancel(LINGER_SECONDS)
        await self.session.gone.wait()
        self._note_settled()
        self.workers.close()

    def forget(self) -> None:
        super().forget()
        self._tasks, self._changing = Tasks(), threading.Lock()
        self._ended, self._settled = Flag(is_set=True), Flag(is_set=True)
        self._unread = None
