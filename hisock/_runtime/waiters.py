"""Waiting for a frame, or for the reply to a call: in threads, and in coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from hisock._core.binding import cast_message
from hisock._core.codec import Codec
from hisock._core.waiting import ReceivedFrame, Waiting, Wanted
from hisock._runtime.deadlines import Deadlines

T = TypeVar("T")


class ThreadWaiter(Generic[T]):
    """A thread that waits for one value.

    Two locks do what a :class:`concurrent.futures.Future` does, in a tenth of its time: one is
    taken by the first that settles the waiter, the other is released when it is served.
    """

    __slots__ = ("_error", "_settled", "_value", "_woken", "served")

    def __init__(self) -> None:
        self._settled = threading.Lock()
        self._woken = threading.Lock()
        self._woken.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None
        #: Whether it has its value, or an exception.
        self.served = False

    def deliver(self, value: T) -> bool:
        """Wake the thread with a value; ``False`` if it has stopped waiting."""
        return self._serve(value, None)

    def fail(self, exc: BaseException) -> None:
        """Wake the thread with an exception."""
        self._serve(None, exc)

    def _serve(self, value: T | None, error: BaseException | None) -> bool:
        if not self._settled.acquire(blocking=False):
            return False
        self._value, self._error = value, error
        self.served = True
        self._woken.release()
        return True

    def abandon(self) -> T | None:
        """Stop waiting; returns a value that was delivered just before, or ``None``."""
        if self._settled.acquire(blocking=False):
            return None
        if not self.served:
            self._woken.acquire()
        return self._value

    def wait(self, timeout: float | None) -> T:
        """What it waits for, once it is there.

        :raises TimeoutError: it did not come within ``timeout`` seconds.
        """
        if not self.served and not self._wake(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._take_error()
        return cast(T, self._value)

    def _take_error(self) -> BaseException:
        """The exception, which is kept no longer: raised, it keeps the frames, and they this."""
        error, self._error = self._error, None
        assert error is not None, "only where there is one"
        return error

    def _wake(self, timeout: float | None) -> bool:
        if timeout is None:
            return self._woken.acquire()
        if self._woken.acquire(timeout=max(timeout, 0)):
            return True
        if self._settled.acquire(blocking=False):
            return False
        return self._woken.acquire()  # it is being delivered


def wait_for_frame(
    waiting: Waiting,
    codec: Codec,
    recv_on: str | None,
    recv_as: Any,
    timeout: float | None,
    put_back: Callable[[ReceivedFrame], None],
) -> Any:
    """Block until another thread delivers a frame that no handler takes, and cast its message.

    :param put_back: gets a frame that was delivered just when Ctrl-C ended the wait.
    :raises TimeoutError: none came within ``timeout`` seconds.
    :raises InvalidTypeCast: the message does not fit ``recv_as``.
    """
    cast = codec.cast_for(recv_as)
    waiter: ThreadWaiter[ReceivedFrame] = ThreadWaiter()
    wanted: Wanted = (recv_on, None)
    waiting.add(wanted, waiter)
    try:
        frame = waiter.wait(timeout)
    except TimeoutError:
        raise frame_timed_out(recv_on, timeout) from None
    except KeyboardInterrupt:
        return_frame(waiter, put_back)
        raise
    finally:
        waiting.remove(wanted, waiter)
    return cast_message(frame.command, cast, frame.message)


def return_frame(
    waiter: ThreadWaiter[ReceivedFrame] | LoopWaiter[ReceivedFrame],
    put_back: Callable[[ReceivedFrame], None],
) -> None:
    """Put back the frame, if any, that was delivered to a waiter which stops waiting."""
    frame = waiter.abandon()
    if frame is not None:
        put_back(frame)


class LoopWaiter(Generic[T]):
    """A coroutine on the running loop that waits for one value."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()

    def deliver(self, value: T) -> bool:
        """Wake the coroutine, on the loop's thread; ``False`` if it has stopped waiting."""
        if self._future.done():
            return False
        self._future.set_result(value)
        return True

    def fail(self, exc: BaseException) -> None:
        """Wake the coroutine with an exception, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._fail, exc)
        except RuntimeError:
            pass  # the loop has ended, and the coroutine with it

    def _fail(self, exc: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(exc)

    def expire(self) -> None:
        """Wake the coroutine because its time is over, on the loop's thread."""
        self._fail(TimeoutError())

    async def wait(self, timeout: float | None, deadlines: Deadlines | None = None) -> T:
        """What it waits for, once it is there.

        :param deadlines: those of the loop, if many wait for ``timeout`` seconds.
        :raises TimeoutError: it did not come within ``timeout`` seconds.
        """
        # asyncio.wait_for would lose a value delivered in the loop iteration of the time-out.
        timer = None
        if timeout is None or (deadlines is not None and not deadlines.add(self, timeout)):
            deadlines = None
        if timeout is not None and deadlines is None:
            timer = self._loop.call_later(max(timeout, 0), self.expire)
        try:
            return await self._future
        except asyncio.CancelledError:
            raise
        except BaseException:
            # The exception keeps this frame, so it may not be kept: that is a reference cycle.
            self._future = self._loop.create_future()
            self._future.cancel()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            elif deadlines is not None and timeout is not None:
                deadlines.remove(self, timeout)

    def abandon(self) -> T | None:
        """Stop waiting, on the loop's thread; returns a value that came just before, if any."""
        future = self._future
        if future.cancel() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()


def current_sender() -> object:
    """The current task, or the current thread outside of tasks: see :meth:`Waiting.sent`."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread() if task is None else task


async def await_frame(
    waiting: Waiting,
    codec: Codec,
    wanted: Wanted,
    cast_to: Any,
    timeout: float | None,
    put_back: Callable[[ReceivedFrame], None],
    sender: object = None,
    deadlines: Deadlines | None = None,
) -> Any:
    """Wait for a frame that no handler takes, and cast its message.

    :param put_back: gets a frame that was delivered just when the wait was cancelled.
    :param sender: see :meth:`Waiting.add`.
    :param deadlines: see :meth:`LoopWaiter.wait`.
    :raises TimeoutError: none came within ``timeout`` seconds.
    :raises InvalidTypeCast: the message does not fit ``cast_to``.
    """
    cast = codec.cast_for(cast_to)
    waiter: LoopWaiter[ReceivedFrame] = LoopWaiter()
    waiting.add(wanted, waiter, sender)
    try:
        frame = await waiter.wait(timeout, deadlines)
    except BaseException as exc:
        waiting.remove(wanted, waiter)  # one that has got its frame is not there any more
        if isinstance(exc, TimeoutError):
            raise frame_timed_out(wanted[0], timeout) from None
        if isinstance(exc, asyncio.CancelledError):
            return_frame(waiter, put_back)
        raise
    return cast_message(frame.command, cast, frame.message)


#: What a time-out says besides where the server has not even said hello.
_SILENT = "; the server has said nothing at all: was it started?"


def frame_timed_out(
    recv_on: str | None, timeout: float | None, silent: bool = False
) -> TimeoutError:
    """:param silent: whether nothing has come of the server so far."""
    what = "no frame" if recv_on is None else f"no frame with the command {recv_on!r}"
    return TimeoutError(f"{what} came within {timeout} seconds{_SILENT if silent else ''}")


def call_timed_out(command: str, timeout: float | None, silent: bool = False) -> TimeoutError:
    """:param silent: whether nothing has come of the server so far."""
    text = f"the call {command!r} was not answered within {timeout} seconds"
    return TimeoutError(f"{text}{_SILENT if silent else ''}")


def part_timed_out(command: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"the call {command!r} brought nothing within {timeout} seconds")


def wrong_loop(what: str, instead: str) -> RuntimeError:
    """The error for waiting on another loop, where nothing would wake the waiter."""
    return RuntimeError(f"{what} on another event loop would never wake; {instead}")
