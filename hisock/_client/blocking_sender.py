"""The half of a blocking client that sends: one frame after the other, or several together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from hisock._client.base import offline_error
from hisock._client.blocking_reader import BlockingReader
from hisock._client.blocking_session import BlockingSession
from hisock._client.connector import Connector
from hisock._client.options import ClientOptions
from hisock._client.returning import holds_back
from hisock._core.waiting import ReceivedFrame
from hisock._runtime.waiters import ThreadWaiter
from hisock.exceptions import ConnectionLost, HiSockError

#: Seconds to wait for the server's hello where its features decide how something is sent.
GREETING_SECONDS = 1.0
#: Bytes that a batch gathers before it is flushed.
_MOST_GATHERED = 65536


class _Batch:
    """What one thread has sent inside ``with client.batch():``."""

    __slots__ = ("begun", "frames", "size")

    def __init__(self) -> None:
        self.begun = False
        self.frames: list[bytes] = []
        self.size = 0


class BlockingSender(BlockingReader):
    """The half of a blocking client that sends."""

    def __init__(self, connector: Connector, options: ClientOptions) -> None:
        #: What is gathered, by thread.
        self._batches: dict[int, _Batch] = {}
        super().__init__(connector, options)

    # -- sending

    def write(self, frame: bytes) -> None:
        self._usable().write(frame)

    def send(self, frame: bytes) -> None:
        """Send a frame, or keep it for the next connection.

        :raises ConnectionLost: there is no connection, and the frame cannot be kept.
        :raises ClientDisconnected: the client is closed.
        """
        if self._batches and self._gathered(frame):
            return
        self.note_sent()
        self._send(frame)

    def _send(self, frame: bytes) -> None:
        while not self._sent(frame):
            if self.session.returning:
                self._fire_news_unread()
            if self._kept(frame):
                return

    def send_acknowledged(self, command: str, message: bytes | None) -> None:
        """Send a message that is kept until the server confirms it."""
        self.send_gathered()
        self.note_sent()
        session = self.session
        if session.features is None and not session.ended:
            self._greeted(self.options.timeout)
        self.keep_unconfirmed(command, message)
        session = self.session
        if session.ended or session.returning:
            self._fire_news_unread()
        else:
            self.post(session)

    def _sent(self, frame: bytes) -> bool:
        """Whether a frame was sent; ``False`` where it may be kept for the next connection."""
        session = self.session
        if session.broken or holds_back(session):
            return False
        try:
            session.write(frame)
            return True
        except ConnectionLost:
            if self.closed:
                raise self.error() from None
            if not self.reconnects:
                raise
            return False

    def _kept(self, frame: bytes) -> bool:
        """Keep a frame for the next connection; ``False`` if that is there by now."""
        with self._changing:
            if self.closed:
                raise self.error()
            if not self.session.broken and not holds_back(self.session):
                return False
            if not self.reconnects or not self._offline.add(frame):
                raise offline_error()
            return True

    def _usable(self) -> BlockingSession:
        self.send_gathered()
        session = self.session
        if self.closed:
            raise self.error()
        if session.ended:
            self._fire_news_unread()
            raise offline_error()
        return session

    # -- sending several together

    def send_many(self, frames: list[bytes]) -> None:
        """Send frames with one system call, or keep them for the next connection.

        :raises ConnectionLost: there is no connection, and they cannot be kept.
        :raises ClientDisconnected: the client is closed.
        """
        self.note_sent()
        self.send_gathered()
        self._send_together(frames)

    def _send_together(self, frames: list[bytes]) -> None:
        session = self.session
        sent = 0
        if not session.broken and not holds_back(session):
            sent = session.write_many(frames)
        for frame in frames[sent:]:
            self._send(frame)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Gather what this thread sends; see :meth:`hisock.HiSockClient.batch`."""
        me = threading.get_ident()
        if me in self._batches:  # the outer batch flushes it
            yield
            return
        self._batches[me] = _Batch()
        try:
            yield
        finally:
            frames = self._batches.pop(me).frames
            if frames:
                self._send_together(frames)

    def send_gathered(self) -> None:
        """Send what this thread has gathered, since something else follows it."""
        if self._batches:
            batch = self._batches.get(threading.get_ident())
            if batch is not None and batch.frames:
                frames, batch.frames, batch.size = batch.frames, [], 0
                self._send_together(frames)

    def _gathered(self, frame: bytes) -> bool:
        """Add a frame to this thread's batch, if it has one."""
        batch = self._batches.get(threading.get_ident())
        if batch is None:
            return False
        if self.closed:
            raise self.error()
        if not batch.begun:
            # A batch is one send for recv(): what answers its first part may come before the last.
            batch.begun = True
            self.note_sent()
        batch.frames.append(frame)
        batch.size += len(frame)
        if batch.size >= _MOST_GATHERED:
            self.send_gathered()
        return True

    # -- the connection, and news of it

    def _greeted(self, timeout: float | None) -> BlockingSession:
        """The connection, once the server's first frame says whether it let the client in.

        :raises TimeoutError: it did not come in time.
        :raises ConnectionRejected: the server did not let the client in.
        """
        session = self._usable()
        waiter: ThreadWaiter[ReceivedFrame] = ThreadWaiter()
        try:
            if session.await_greeting(waiter):
                self._wait(waiter, timeout)
        except TimeoutError:
            raise TimeoutError(f"the server said nothing within {timeout} seconds") from None
        finally:
            session.forget_greeting(waiter)
        return session

    def await_greeting(self) -> None:
        if not self.session.ended and not self._handling:
            with contextlib.suppress(TimeoutError, ConnectionError, HiSockError):
                self._greeted(GREETING_SECONDS)

    def _fire_news(self) -> None:
        while self._news:
            self._news.popleft()()

    def _fire_news_unread(self) -> None:
        """Fire events that no reader fires, because there is no connection to read."""
        if self._news and not self._started and self._take_turn(timeout=0):
            try:
                self._fire_news()
            finally:
                self._end_turn()
