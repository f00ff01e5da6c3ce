"""The receiving part of an asynchronous client: its handlers and its waiters."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from hisock._client.asyncio_link import AsyncioSession
from hisock._client.base import ClientBase
from hisock._client.concurrent import ConcurrentTasks
from hisock._client.connector import Connector
from hisock._client.endings import End
from hisock._client.options import ClientOptions
from hisock._client.threaded import LOOK_SECONDS
from hisock._client.unread import Unread
from hisock._core import tracing
from hisock._core.binding import cast_message
from hisock._core.jobs import Job
from hisock._core.log_fields import fields
from hisock._core.waiting import Waiting
from hisock._runtime.deadlines import Deadlines
from hisock._runtime.flag import Flag
from hisock._runtime.tasks import Tasks
from hisock._runtime.waiters import await_frame, current_sender, wrong_loop
from hisock.exceptions import ClientDisconnected
from hisock.framing import Frame

logger = logging.getLogger("hisock.client")

#: Unclaimed frames that are kept for ``recv``; the oldest are dropped.
UNCLAIMED_FRAMES = 1024
UNCLAIMED_BYTES = 16 * 1024 * 1024
#: Seconds for which frames left by an ``async for`` are all kept for the next reader, while their
#: bound pauses reading. After that, the client assumes that there will be no other reader.
UNREAD_SECONDS = 5.0
#: Connections that wait for handlers, and bytes of what came by them, beyond which the client does
#: not come back before handlers have ended. One may hold 4 MiB, and takes some 3 KiB without that;
#: each holds what the server announces at once, and a handler may wait through many of them.
MOST_IN_LINE = 1024
MOST_HELD = 16 * 1024 * 1024

#: The client whose handler the running code belongs to.
_HANDLING: ContextVar[object] = ContextVar("hisock_handling", default=None)


class AsyncioReader(ClientBase):
    """The part of a client on the running loop that its connections give their frames to."""

    has_loop = True
    session: AsyncioSession

    def __init__(self, connector: Connector, options: ClientOptions) -> None:
        waiting = Waiting(
            threading.Lock(), time.monotonic, UNCLAIMED_FRAMES, UNCLAIMED_BYTES, float("inf")
        )
        super().__init__(connector, options, waiting)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.current_thread()
        self._thread_id = threading.get_ident()
        #: Those of calls and ``recv``.
        self.deadlines = Deadlines(self._loop)
        self._tasks = Tasks()
        self._concurrent: ConcurrentTasks | None = None  # made for the first of them
        #: Whether it is being watched if threads catch up.
        self._looking = False
        self.session = AsyncioSession(self, self.identity)
        # The connections with frames in handlers, oldest first; all but the last one have ended.
        self._line = [self.session]
        self._dispatching = False
        # True until the program has its client and has had a chance to register handlers.
        self._holding = True
        self._ended = Flag()
        self._settled = Flag()
        #: Set when all has been handled that came by one that has ended.
        self._caught_up = Flag()
        self._told = False
        self._unread: Unread | None = None
        self._iterators = 0
        self._releasing: asyncio.TimerHandle | None = None

    # -- running handlers: see hisock._core.jobs.Runner

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop."""
        token = _HANDLING.set(self)
        try:
            if ordered:
                begun, ended = self._ordered(job.connection or self._line[0])
                self._tasks.start(coroutine, job, begun, ended)
            else:
                self._concurrent_tasks().start(self._tasks, coroutine, job)
        finally:
            _HANDLING.reset(token)

    def threads_fall_behind(self) -> None:
        super().threads_fall_behind()
        if not self._looking:
            self._look_at_threads()

    def _look_at_threads(self) -> None:
        """Read no more while threads are behind, and look again in a moment."""
        awaited = self.awaited
        # Asked for once: they may catch up in between, and a pause has to be looked at again.
        self._looking = not self.closed and self.work.behind
        stop = self._looking and self.work.holds_up_reading(awaited)
        if stop and (lost := self.work.stuck(awaited, self._loop.time())) is not None:
            self.session.end(End.LOST, lost)
        for session in self._line:
            session.pauses.set("threads", stop)
        if self._looking:
            self._loop.call_later(LOOK_SECONDS, self._look_at_threads)

    def _concurrent_tasks(self) -> ConcurrentTasks:
        if self._concurrent is None:
            call_soon = self._loop.call_soon
            self._concurrent = ConcurrentTasks(self._hold_up, self._let_go_on, call_soon)
        return self._concurrent

    def _ordered(self, session: AsyncioSession) -> tuple[Callable[[], None], Callable[[], None]]:
        """What holds up a session's frames, and what lets them go on."""

        def begun() -> None:
            session.busy += 1

        def ended() -> None:
            session.busy -= 1
            tracing.forget()
            self._go_on()

        return begun, ended

    def _hold_up(self) -> None:
        """Handle no more frames of the current connection until :meth:`_let_go_on`."""
        self._line[0].busy += 1

    def _let_go_on(self) -> None:
        """Handle frames again, as far as this reason goes: it is still the turn of the same one."""
        self._line[0].busy -= 1
        tracing.forget()
        self._go_on()

    # -- frames

    def received(self, session: AsyncioSession, frames: list[Frame]) -> None:
        """Frames have come."""
        if session.ended:
            return
        if session is not self.session or self._holding:
            session.stash(frames)
        else:
            self._take(session, frames)

    def release(self) -> None:
        """Have the frames handled that came before the program had its client."""
        self._holding = False
        self._take(self.session, self.session.inbox.take_all())
        if self.closed:
            self._fail_readers(self.ended_by)

    def _fail_readers(self, reason: Exception) -> None:
        self.waiting.close(reason)
        if self._unread is not None:
            self._unread.end()

    def _take(self, session: AsyncioSession, frames: list[Frame]) -> None:
        if session is not self._line[0] or session.busy or session.inbox:
            session.defer(iter(frames))
        else:
            self._handle(session, frames)
            self._go_on()

    def _handle(self, session: AsyncioSession, frames: list[Frame]) -> None:
        session.batch = frames
        self._dispatching = True
        try:
            self.events.dispatch(session, iter(frames))
        finally:
            self._dispatching = False
            session.batch = []

    def _go_on(self) -> None:
        """Handle what waits, connection by connection, until a handler holds it up."""
        while not self._dispatching and not self._holding:
            session = self._line[0]
            if session.busy:
                return
            frame = session.inbox.pop()
            if frame is not None:
                self._handle(session, [frame])
            elif not session.ended:
                return
            else:
                self._caught_up.set()
                if len(self._line) == 1:
                    if self.closed:
                        self._settle()
                    return
                self._line.pop(0)

    @property
    def _line_is_long(self) -> bool:
        """Whether the connections with frames in handlers are many, or hold much."""
        held = sum(session.inbox.size for session in self._line)
        return len(self._line) > MOST_IN_LINE or held > MOST_HELD

    async def short_line(self) -> None:
        """Wait until handlers have caught up with earlier connections, if these left much.

        A server that sends and hangs up, again and again, would fill the memory otherwise.
        """
        if self._line_is_long:
            why = f"handlers have to catch up with {len(self._line)} connections first"
            said = fields("reconnect_held_back", reason=why)
            logger.info("not coming back yet: %s", why, extra=said)
        while self._line_is_long:
            self._caught_up.clear()
            await self._caught_up.wait()

    @property
    def settled(self) -> bool:
        return self.closed and self._settled.is_set

    def _settle(self) -> None:
        """All that came has been handled."""
        if self.how is End.KICKED and not self._told:
            self._told = True
            self.events.fire("force_disconnect")
        if not self._line[0].busy:
            self._note_settled()

    def _note_settled(self) -> None:
        self._settled.set()
        self._concurrent = None  # it keeps this, which would wait for the garbage collector

    async def wait_closed(self) -> None:
        """Wait until the client has ended, and what came before that is handled.

        In a handler of the client itself, which would wait for its own end, only for the first.
        """
        if not self.closed:
            self.on_own_loop("wait_closed()")
        if _HANDLING.get() is self:
            await self._ended.wait()
        else:
            await self._settled.wait()

    # -- receiving

    async def recv(self, command: str | None, kind: Any, timeout: float | None) -> Any:
        """The next frame that no handler takes, cast."""
        self.on_own_loop("recv()")
        self.events.unhandled.waited_for(command)
        unread = None if self._unread is None else self._unread.take(command)
        if unread is not None:
            self._put_off_release()
            return cast_message(unread.command, self.codec.cast_for(kind), unread.message)
        if self.waiting.idle:  # where others wait too, what they send is written together
            self.session.flush_now()
        return await await_frame(
            self.waiting,
            self.codec,
            (command, None),
            kind,
            timeout,
            self.events.put_back,
            self.sender(),
            self.deadlines,
        )

    def sender(self) -> object:
        """As :func:`current_sender`, faster on the thread of the client."""
        if threading.get_ident() != self._thread_id:
            return current_sender()
        return asyncio.current_task(self._loop) or self._thread

    def on_own_loop(self, what: str) -> None:
        """Refuse to wait on another loop, where nothing would wake the waiter.

        :raises RuntimeError: the running loop is not the client's.
        """
        if asyncio.get_running_loop() is not self._loop:
            instead = "use asyncio.run_coroutine_threadsafe(..., the client's loop)"
            raise wrong_loop(what, instead)

    async def frames(self) -> AsyncIterator[tuple[str | None, bytes | None]]:
        """What no handler takes, until the client is closed.

        :raises ConnectionLost: the connection ended without a goodbye.
        """
        self.on_own_loop("async for")
        unread = self._open_unread()
        self._iterators += 1
        try:
            while (frame := await unread.next()) is not None:
                yield frame.command, frame.message
        finally:
            self._iterators -= 1
            self._put_off_release()
        if not isinstance(self.ended_by, ClientDisconnected):
            raise self.error()

    def _open_unread(self) -> Unread:
        if self._unread is None:
            self._unread = Unread(self._pause_for_readers, self.waiting.take_all())
            self.events.stream = self._unread.put
            self.events.stream_first = self._unread.put_first
            if self.closed and not self._holding:
                self._unread.end()
        return self._unread

    def _pause_for_readers(self, much: bool) -> None:
        for session in self._line:
            session.pauses.set("unread", much)

    def _put_off_release(self) -> None:
        """Release unread frames, some seconds after the last reader has stopped."""
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None
        if not self._iterators and self._unread is not None and not self.closed:
            self._releasing = self._loop.call_later(UNREAD_SECONDS, self._release_unread)

    def _release_unread(self) -> None:
        if self._iterators or self._unread is None or self.closed:
            return
        unread, self._unread = self._unread, None
        self.events.stream = self.events.stream_first = None
        for frame in unread.take_all():
            self.waiting.keep(frame)
