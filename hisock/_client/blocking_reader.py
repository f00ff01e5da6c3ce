"""The half of a blocking client that reads: one thread at a time, which handles what comes.

That is the thread in ``start()``, or one in ``recv()`` where nothing was started. The others wait
for what it delivers.
"""

from __future__ import annotations

import itertools
import operator
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from hisock._client.base import ClientBase
from hisock._client.blocking_link import LINGER_SECONDS, Link
from hisock._client.blocking_session import BlockingSession
from hisock._client.connector import Connector
from hisock._client.endings import PASSING, End, goodbye_in
from hisock._client.options import ClientOptions
from hisock._client.session import State
from hisock._client.threaded import LOOK_SECONDS
from hisock._core.error_handlers import ErrorContext, ErrorHandler, bind_error_handler
from hisock._core.parts import Ended, Parts
from hisock._core.waiting import Waiting
from hisock._runtime.waiters import ThreadWaiter, part_timed_out
from hisock.exceptions import ConnectionLost, ConnectionRejected

T = TypeVar("T")

#: Reads per update() at most, so that a busy server cannot hold the caller.
_READS_PER_UPDATE = 16


class BlockingReader(ClientBase):
    """The half of a blocking client that reads and runs handlers."""

    session: BlockingSession

    def __init__(self, connector: Connector, options: ClientOptions) -> None:
        super().__init__(connector, options, Waiting(threading.Lock(), time.monotonic))
        # One thread reads at a time; others wait for their turn, or for their frame.
        self._turn_lock = threading.Lock()
        self._turn = threading.Condition(self._turn_lock)
        self._turn_wanted = 0
        self._reader: int | None = None
        self._started = False
        #: Whether the program calls ``recv``, as far as is known.
        self._receives = True
        self._has_received = False
        # Guards which session is the current one, the offline buffer, and the end.
        self._changing = threading.Lock()
        self._back_or_closed = threading.Event()
        #: Events that the reading thread has yet to fire.
        self._news: deque[Callable[[], None]] = deque()
        #: The connection that is being established while reconnecting.
        self._attempting: BlockingSession | None = None
        self._was_told = False
        self._closed_here = False
        self.session = self._reading = self._connect(self.identity)
        self._attempting = None

    def _connect(self, identity: tuple[str | None, str | None]) -> BlockingSession:
        link = Link(self.connector.open(self.options.timeout), self.options)
        session = BlockingSession(self, link, identity)
        try:
            with self._changing:
                if self.closed:  # while it connected: nothing is said any more
                    raise self.error()
                self._attempting = session  # from here on, close() breaks it off
            link.send(self.hello(session))
        except BaseException:
            self._attempting = None
            link.close()
            raise
        session.state = State.GREETING
        return session

    # -- what the other half implements

    def _fire_news(self) -> None:
        """Fire the events that wait for a thread that reads."""
        raise NotImplementedError

    def write_failed(self, session: BlockingSession) -> None:
        """See :class:`hisock._client.blocking_session.BlockingOwner`."""
        raise NotImplementedError

    def close(self, emit_leave: bool = True) -> None:
        """Close the client."""
        raise NotImplementedError

    def _greeted(self, timeout: float | None) -> BlockingSession:
        """The connection, once the server has let the client in."""
        raise NotImplementedError

    # -- reading: one thread at a time

    def _take_turn(
        self, waiter: ThreadWaiter[Any] | None = None, timeout: float | None = None
    ) -> bool:
        """Become the thread that reads, unless ``waiter`` is served by the one that does.

        :returns: whether it is this thread's turn now.
        """
        with self._turn_lock:
            if self._reader is not None and timeout != 0:
                self._wait_for_turn(waiter, timeout)
            if self._reader is not None or self.closed:
                return False
            self._reader = threading.get_ident()
            return True

    def _wait_for_turn(self, waiter: ThreadWaiter[Any] | None, timeout: float | None) -> None:
        """Wait, with the lock held, until no thread reads; or until ``waiter`` is served."""
        self._turn_wanted += 1
        try:
            self._turn.wait_for(
                lambda: self._reader is None or (waiter is not None and waiter.served), timeout
            )
        finally:
            self._turn_wanted -= 1

    @property
    def settled(self) -> bool:
        return self.closed and self._reader is None

    def _end_turn(self) -> None:
        if self.closed and self._closed_here:
            self.session.link.drain()
        elif self.closed:
            self.session.link.close()
        with self._turn_lock:
            self._reader = None
            if self._turn_wanted:
                self._turn.notify_all()

    def _fetch(self, timeout: float | None) -> bool:
        """Receive once; whether frames came. All that came before must have been handled."""
        session = self.session
        if session.ended:
            # Fire before waiting as well: a sending thread may just have noticed the loss.
            self._fire_news()
            self._back_or_closed.wait(timeout)
            self._fire_news()
            return False
        if self.work_made is not None and self.work_made.behind:
            began = time.monotonic()
            if not self._threads_catch_up(session, timeout):
                return False
            if timeout is not None:
                timeout = max(0.0, began + timeout - time.monotonic())
        self._reading = session
        try:
            session.link.require_whole()
            frames = session.receive(timeout)
        except ConnectionLost as exc:
            session.end(End.LOST, session.link.given_up or exc)
            # Fire now: the waiters have failed, and no other thread may read after this one.
            self._fire_news()
            return False
        session.hold(frames)
        return bool(frames)

    def _threads_catch_up(self, session: BlockingSession, timeout: float | None) -> bool:
        """Wait, within ``timeout`` seconds, until something may be read for the threads again."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.closed and not session.ended:
            awaited = self.awaited
            if not self.work.holds_up_reading(awaited):
                return True
            if (lost := self.work.stuck(awaited, time.monotonic())) is not None:
                session.end(End.LOST, lost)
                self._fire_news()
                return False
            left = LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, LOOK_SECONDS))
        return True

    def _dispatch(self, most: int | None) -> int:
        """Handle frames that have arrived, ``most`` of them; returns how many."""
        self._fire_news()
        if self._reading is not self.session and not operator.length_hint(self._reading.pending):
            self._reading = self.session
        session = self._reading
        before = operator.length_hint(session.pending)
        if not before:
            return 0
        left = before if most is None else min(most, before)
        while left > 0 and session.earlier:
            done = self._dispatch_earlier(session, left)
            if not done:
                break
            left -= done
        if left > 0:
            frames = session.pending if most is None else itertools.islice(session.pending, left)
            self.events.dispatch(session, frames)
        return before - operator.length_hint(session.pending)

    def _dispatch_earlier(self, session: BlockingSession, most: int) -> int:
        """Handle frames that had come before something was sent; returns how many."""
        count, number = session.earlier[0]
        before = operator.length_hint(session.pending)
        self.waiting.number = number
        try:
            self.events.dispatch(session, itertools.islice(session.pending, min(count, most)))
        finally:  # also where a handler ends the program, which may go on all the same
            self.waiting.number = 0
            done = before - operator.length_hint(session.pending)
            if done < count:
                session.earlier[0] = (count - done, number)
            else:
                session.earlier.popleft()
        return done

    def note_sent(self) -> None:
        """Something is about to be sent: what has come by now does not answer it.

        Where no thread reads, that may still lie in the system. A program that calls ``update``
        and never ``recv`` is spared the look.
        """
        sender = threading.current_thread()
        if self._started or not self._receives or not self._take_turn(timeout=0):
            self.waiting.sent(sender)
            return
        try:
            session = self.session
            unread = 0 if session.ended else session.read_ahead()
            number = self.waiting.sent(sender, unread > 0)
            if unread > 0:
                session.earlier.append((unread, number))
            if session.loss_ahead is not None and self.reconnects:
                self._end_unread(session, session.loss_ahead)
        finally:
            self._end_turn()

    def _end_unread(self, session: BlockingSession, reason: ConnectionLost) -> None:
        """End a connection that is broken, in a thread that only sends.

        A goodbye after which the client does not come back is left to one that reads: its handlers
        get what came before that.
        """
        if session is not self.session or session.ended:
            return
        frames = session.receive_rest()
        session.hold([*session.pending, *frames])
        how, said = goodbye_in(session.batch) or (End.LOST, reason)
        if how in PASSING:
            session.end(how, said)

    def _wait(self, waiter: ThreadWaiter[T], timeout: float | None) -> T:
        """Wait for a frame: from the thread that reads, or by reading where no other does."""
        if self._started:
            return waiter.wait(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not waiter.served and not self.closed:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            if self._take_turn(waiter, left):
                self._read_for(waiter, left)
        # close() fails the waiters right after it has set `closed`.
        return waiter.wait(LINGER_SECONDS if self.closed else 0)

    def _read_for(self, waiter: ThreadWaiter[Any], timeout: float | None) -> None:
        """Handle frames one by one until the waiter has its own; the rest waits for others."""
        try:
            while self._dispatch(1) and not waiter.served:
                pass
            if not waiter.served and not self.closed:
                self._fetch(timeout)
                while not waiter.served and self._dispatch(1):
                    pass
        finally:
            self._end_turn()

    @property
    def _handling(self) -> bool:
        """Whether this is the thread that reads: a handler of whatever kind has called."""
        return self._reader == threading.get_ident()

    def _not_while_handling(self, what: str) -> None:
        if self._handling:
            raise RuntimeError(
                f"{what} in a handler that runs on the client's loop would wait for ever; "
                'register the handler with @client.on("...", threaded=True)'
            )

    # -- replies in parts

    def stream(
        self, command: str, message: bytes | None, timeout: float | None
    ) -> Generator[bytes | None, None, None]:
        """The parts of what the server's handler yields; see :meth:`hisock.HiSockClient.stream`."""
        self._not_while_handling("stream()")
        session = self._greeted(timeout)
        number, parts = self.begin_stream(session, command, message)
        try:
            yield from self._take_parts(command, parts, timeout)
        finally:
            self.end_stream(session, number, parts)

    def _take_parts(
        self, command: str, parts: Parts, timeout: float | None
    ) -> Generator[bytes | None, None, None]:
        """Wait for one part of a reply after the other, until it is complete."""
        while True:
            waiter: ThreadWaiter[None] = ThreadWaiter()
            try:
                if parts.wake(waiter):
                    self._wait(waiter, timeout)
            except TimeoutError:
                raise part_timed_out(command, timeout) from None
            part = parts.pop()
            if isinstance(part, Ended):
                return
            yield part

    # -- running

    def prepare(
        self,
        callback: Callable[[], Any] | None,
        error_handler: ErrorHandler | None,
    ) -> None:
        """Note that the client runs from now on.

        :raises RuntimeError: it does already, or a handler of an update has called.
        """
        if self._started:
            raise RuntimeError("the client is running already")
        if self._handling:
            raise RuntimeError(
                "start() in a handler would wait for ever; call it where update() is called"
            )
        bound = None if error_handler is None else bind_error_handler(error_handler)
        self._started = True
        if bound is not None:
            self.error_handler = bound
        self.events.callback = callback
        self.events.refresh()

    def run(self) -> None:
        """Handle what comes until the client is closed, and tell why it was."""
        if self._take_turn():
            self._run()
        if self._has_to_tell():
            if self.error_handler is None:
                raise self.error()
            self.error_handler(self.error(), ErrorContext(None, None))

    def _run(self) -> None:
        try:
            while not self.closed:
                self._dispatch(None)
                if not self.closed:
                    self._fetch(None)
        except KeyboardInterrupt:
            # The client stays open: the program may still send, receive or start again.
            self._started = False
            raise
        except SystemExit:
            self.close()
            raise
        finally:
            self._end_turn()
            if self.closed:
                self.workers.close(timeout=1.0)

    def update(self, most: int | None) -> int:
        """Handle what has arrived, ``most`` frames at most, without waiting; returns how many."""
        if self._has_to_tell():
            raise self.error()
        self._receives = self._receives and self._has_received
        if self.closed or not self._take_turn(timeout=0):
            return 0
        handled = 0
        try:
            for _ in range(_READS_PER_UPDATE):
                handled += self._dispatch(None if most is None else most - handled)
                if self.closed or handled == most or not self._fetch(0):
                    break
        finally:
            self._end_turn()
        if self._has_to_tell():
            raise self.error()
        return handled

    def _has_to_tell(self) -> bool:
        """Whether the program has to hear, once, why the client is closed."""
        if not self.closed or self._was_told:
            return False
        self._was_told = True
        self._fire_news()
        return isinstance(self.ended_by, (ConnectionLost, ConnectionRejected))
