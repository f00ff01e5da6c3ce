"""A conversation over a blocking socket: who reads, who waits, and what happens when it breaks.

One thread reads at a time, whichever has something to wait for: the one in ``start()``, or one in
``recv()`` where nothing was started. The others wait for what it delivers.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import operator
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from hisock._client.base import ClientBase
from hisock._client.blocking_link import LINGER_SECONDS, Link
from hisock._client.options import ClientOptions
from hisock._core.client_info import ClientInfo
from hisock._core.jobs import Job, RawFrame
from hisock._core.reporting import loggable, one_line
from hisock._core.waiting import Frame, Waiting
from hisock._runtime.sockets import RemoteAddress
from hisock._runtime.threads import Threads
from hisock._runtime.waiters import ThreadWaiter
from hisock.exceptions import (
    ClientDisconnected,
    ConnectionLost,
    ConnectionRejected,
    HiSockError,
)

#: Seconds that a server gets to say what it is, where that decides how something is sent.
GREETING_SECONDS = 1.0

logger = logging.getLogger("hisock.client")
T = TypeVar("T")


class BlockingDriver(ClientBase):
    """What :class:`~hisock.client.HiSockClient` is built on.

    :raises ServerNotRunning: nobody listens at the address, or nobody answered in time.
    :raises ssl.SSLError: the server's certificate is not to be trusted, or it speaks no TLS.
    """

    def __init__(self, addr: RemoteAddress, options: ClientOptions) -> None:
        super().__init__(addr, options, Waiting(threading.Lock(), time.monotonic), self)
        self._error_handler: Callable[[Exception], Any] | None = None
        self._workers = Threads("hisock-client")
        self._asking = threading.Lock()
        # The last frames that arrived, and what of them is still to be handled.
        self._batch: list[RawFrame] = []
        self._pending: Iterator[RawFrame] = iter(())
        # Whose turn it is to read; others wait for that to change, or for a frame of theirs.
        self._turn = threading.Condition()
        self._reader: int | None = None
        self._dispatcher: int | None = None
        self._started = False
        # Guards which link is the current one, and what is sent before it is.
        self._changing_link = threading.Lock()
        self._back_or_closed = threading.Event()
        #: Events that the thread which reads has yet to fire.
        self._news: deque[tuple[str, ...]] = deque()
        self._link = self._open_link()
        #: The link that the last frames came by.
        self._read_from: Link | None = None
        self._was_told = False
        self._closed_here = False

    has_loop = False

    def _open_link(self) -> Link:
        hello = self._hello()
        link = Link(self.addr, self._options)
        link.send(hello)
        return link

    # -- running handlers: see hisock._core.jobs.Runner

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """Log an error of a handler, and give it to the error handler."""
        if self._closed and exc is self._ended_by:
            return  # the handler was waiting in recv() when the client closed
        shown = loggable(exc)
        logger.error("the handler of %r failed: %s", command, one_line(shown), exc_info=shown)
        if self._error_handler is not None:
            try:
                self._error_handler(exc)
            except Exception as failure:
                logger.error("the error handler failed", exc_info=loggable(failure))

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in a thread of its own."""
        self._workers.submit(job.run, func)

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Never called: no async handler can be registered."""
        raise NotImplementedError

    # -- reading: one thread at a time

    def _take_turn(
        self, waiter: ThreadWaiter[Any] | None = None, timeout: float | None = None
    ) -> bool:
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
        if self._closed and self._closed_here:
            self._link.drain()
        elif self._closed:
            self._link.close()
        with self._turn:
            self._reader = None
            self._turn.notify_all()

    def _fetch(self, timeout: float | None) -> bool:
        """Receive once; whether frames came. All that came before must have been handled."""
        if not self._online:
            # Before waiting too: the loss may be one that a thread which sends has just noticed.
            self._fire_news()
            self._back_or_closed.wait(timeout)
            self._fire_news()
            return False
        link = self._link
        try:
            frames = link.receive(timeout)
        except ConnectionLost as exc:
            self._lose(link, exc)
            # Now: whom this thread reads for has been failed, and may be the last that reads.
            self._fire_news()
            return False
        if frames and link is not self._read_from:
            self._read_from = link
            frames = self._take_greeting(frames)
        self._batch = frames
        self._pending = iter(frames)
        return bool(frames)

    def _dispatch(self, most: int | None) -> int:
        """Handle frames that have arrived, ``most`` of them; returns how many."""
        self._fire_news()
        before = operator.length_hint(self._pending)
        if not before:
            return 0
        frames = self._pending if most is None else itertools.islice(self._pending, most)
        self._dispatcher = threading.get_ident()
        try:
            self._events.dispatch(self, frames)
        finally:
            self._dispatcher = None
        return before - operator.length_hint(self._pending)

    def _wait(self, waiter: ThreadWaiter[T], timeout: float | None) -> T:
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
        # Whoever closes the client tells the waiters right after it is closed.
        return waiter.wait(LINGER_SECONDS if self._closed else 0)

    def _read_for(self, waiter: ThreadWaiter[Any], timeout: float | None) -> None:
        """Handle frames one by one until the waiter has its own; the rest waits for others."""
        try:
            while self._dispatch(1) and not waiter.served:
                pass
            if not waiter.served and not self._closed:
                self._fetch(timeout)
                while not waiter.served and self._dispatch(1):
                    pass
        finally:
            self._end_turn()

    def _not_while_handling(self, what: str) -> None:
        if self._dispatcher == threading.get_ident():
            raise RuntimeError(
                f"{what} in a handler that runs on the client's loop would wait for ever; "
                'register the handler with @client.on("...", threaded=True)'
            )

    def defer(self, frames: Iterator[RawFrame]) -> None:
        """Never needed: no handler of a blocking client is still running when it returns."""

    # -- sending and ending

    def _write(self, frame: bytes) -> None:
        link = self._link
        if not self._online:
            raise self._offline_error()
        try:
            link.send(frame)
        except ConnectionLost as exc:
            if self._reconnect is not None:
                self._lose(link, exc)
            raise

    def _reply_by(self) -> Callable[[bytes], Any]:
        return (self._read_from or self._link).send

    def _stop(self, last_frame: bytes | None) -> None:
        self._back_or_closed.set()
        self._batch.clear()
        self._link.shut(last_frame)

    # -- losing the connection, and coming back

    def _lose(self, link: Link, exc: ConnectionLost) -> None:
        """A connection has ended without a goodbye; noticed by whoever used it."""
        with self._changing_link:
            if self._closed or link is not self._link or not self._online:
                return
            if self._reconnect is not None:
                self._back_or_closed.clear()
                # Before anybody can see that there is no connection, and wait for the next.
                self._news.append(("disconnect", str(exc)))
                self._go_offline(exc)
        if self._reconnect is None:
            self._end(exc)
            return
        link.close()
        name = "hisock-reconnect"
        threading.Thread(target=self._come_back, args=(exc,), name=name, daemon=True).start()

    def _come_back(self, lost: ConnectionLost) -> None:
        assert self._reconnect is not None
        for delay in self._reconnect.delays():
            # Set early only by close().
            if self._back_or_closed.wait(delay):
                return
            try:
                link = self._open_link()
            except (OSError, HiSockError) as exc:
                logger.debug("could not reconnect: %s", exc)
                continue
            if self._use(link):
                return
        self._end(ConnectionLost(f"{lost}; gave up after {self._reconnect.attempts} attempts"))

    def _use(self, link: Link) -> bool:
        """Go on with a new connection, after what was sent meanwhile."""
        with self._changing_link:
            if self._closed:
                link.close()
                return True
            frames = self._offline.take()
            try:
                while frames:
                    link.send(frames[0])
                    del frames[0]
            except ConnectionLost:
                self._offline.restore(frames)
                return False
            self._link = link
            self._news.append(("reconnect",))
            self._come_online()
            self._back_or_closed.set()
        return True

    def _fire_news(self) -> None:
        while self._news:
            self._events.fire(*self._news.popleft())

    def _fire_news_unread(self) -> None:
        """Fire what no reader will: while there is no connection, nobody reads."""
        if self._news and not self._started and self._take_turn(timeout=0):
            try:
                self._fire_news()
            finally:
                self._end_turn()

    def close(self, emit_leave: bool = True) -> None:
        """Say goodbye and close. Closing twice does nothing. From any thread.

        What was sent before still reaches the server.

        :param emit_leave: tell the server with ``$USRCLOSE$``.
        """
        if not self._closed:
            self._closed_here = True
            reason = ClientDisconnected("the client is closed")
            self._end(reason, self._leave_frame() if emit_leave else None)
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

    def _send_offline(self, frame: bytes) -> None:
        with self._changing_link:
            if self._online:
                self._link.send(frame)
            elif self._closed:
                raise self._ended_by
            elif not self._offline.add(frame):
                raise self._offline_error()

    def _await_answer(self, timeout: float | None) -> None:
        """Wait for the server's first frame, which tells whether it let the client in.

        :raises TimeoutError: it did not come in time.
        :raises ConnectionRejected: the server did not let the client in.
        """
        if not self._online and not self._closed:
            self._fire_news_unread()
            raise self._offline_error()
        waiter: ThreadWaiter[Frame] = ThreadWaiter()
        self._awaiting_answer.append(waiter)
        try:
            if self._server_knows_calls is not None:
                return
            if self._closed:
                raise self._ended_by
            self._wait(waiter, timeout)
        except TimeoutError:
            raise TimeoutError(f"the server said nothing within {timeout} seconds") from None
        finally:
            with contextlib.suppress(ValueError):
                self._awaiting_answer.remove(waiter)

    def _await_greeting(self) -> None:
        if self._online and self._dispatcher != threading.get_ident():
            with contextlib.suppress(TimeoutError, ConnectionError, HiSockError):
                self._await_answer(GREETING_SECONDS)

    def _reason_to_tell(self) -> Exception | None:
        """Why the client is closed, once, if its program has to hear of that."""
        if not self._closed or self._was_told:
            return None
        self._was_told = True
        self._fire_news()
        cut_off = isinstance(self._ended_by, (ConnectionLost, ConnectionRejected))
        return self._ended_by if cut_off else None
