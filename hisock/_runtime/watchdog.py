"""A thread that looks, now and then, whether something holds a loop, and says what.

A handler that runs is found by looking at the loop's thread from outside, a few times a second. The
same thread looks whether a long timer of the loop is due.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import time
from collections import Counter
from types import CodeType, FrameType

from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit
from hisock._runtime.loop_thread import LoopThread

logger = logging.getLogger("hisock.server")

#: Seconds that a handler may hold the loop before it is logged and counted.
SLOW_SECONDS = 0.1
#: Seconds between two looks.
INTERVAL = 0.05
#: Names that are counted one by one; others are counted together.
_MOST_NAMES = 100
_OTHERS = "(others)"

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: What holds no loop: it runs, or waits for, everything else.
_LOOPS = (os.path.join("asyncio", ""), "selectors.py")


class Watchdog:
    """Watches the thread of one loop.

    :ivar slow: how often which function held the loop for more than :data:`SLOW_SECONDS`.
    """

    def __init__(self, thread: LoopThread) -> None:
        self.slow: Counter[str] = Counter()
        self._thread = thread
        self._watcher: threading.Thread | None = None
        self._done = threading.Event()
        self._log_limit = LogLimit()

    def start(self) -> None:
        """Watch the loop that runs here, until :meth:`stop`."""
        outer = set()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            outer.add(frame.f_code)
            frame = frame.f_back
        self._watcher = threading.Thread(
            target=self._watch,
            args=(threading.get_ident(), outer),
            name="hisock-watchdog",
            daemon=True,
        )
        self._watcher.start()
        self._thread.watch()

    def stop(self) -> None:
        """End the thread, and wait for that."""
        self._done.set()
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self, ident: int, outer: set[CodeType]) -> None:
        while not self._done.wait(INTERVAL):
            try:
                self._look(ident, outer)
            except Exception as exc:  # of the program's logging; the timers depend on this thread
                args = (type(exc), exc, exc.__traceback__, threading.current_thread())
                with contextlib.suppress(Exception):
                    threading.excepthook(threading.ExceptHookArgs(args))

    def _look(self, ident: int, outer: set[CodeType]) -> None:
        self._thread.look(INTERVAL)
        top = frame_of(ident)
        handler = None if top is None else handler_in(top, outer)
        del top  # its locals are the program's
        if handler is not None:
            self._follow(handler, ident, outer)

    def _follow(self, handler: FrameType, ident: int, outer: set[CodeType]) -> None:
        """Look on until a handler ends, or leaves the loop to others."""
        began = time.monotonic()
        turned = threading.Event()
        # A coroutine keeps its frame while it waits: only the loop knows whether it went on.
        if not self._thread.post(turned.set):
            return
        told = False
        while not turned.wait(INTERVAL / 2) and not self._done.is_set():
            self._thread.look(INTERVAL)
            top = frame_of(ident)
            if top is None or handler_in(top, outer) is not handler:
                return
            if not told and time.monotonic() - began >= SLOW_SECONDS:
                told = True
                self._tell(handler, innermost_of_program(top))
            del top

    def _tell(self, handler: FrameType, at: FrameType) -> None:
        code = handler.f_code
        name = getattr(code, "co_qualname", code.co_name)
        if name not in self.slow and len(self.slow) >= _MOST_NAMES:
            name = _OTHERS
        self.slow[name] += 1
        if self._log_limit.permits(time.monotonic()):
            if self._log_limit.withheld:
                count = self._log_limit.reset()
                logger.warning(
                    "%d more slow handlers, which were not logged one by one",
                    count,
                    extra=fields("handler_slow", withheld=count),
                )
            logger.warning(
                "%s has held the loop for more than %d ms, now in %s:%d, and nobody else is "
                "served; use threaded=True, or async def with awaits",
                name,
                SLOW_SECONDS * 1000,
                at.f_code.co_filename,
                at.f_lineno,
                extra=fields("handler_slow", reason=name),
            )


def frame_of(ident: int) -> FrameType | None:
    """The innermost frame of a thread, if that runs.

    Python before 3.12 may collect garbage inside of the look-up, while it holds a lock that each
    thread needs to begin and to end: a finalizer that lets another thread run then stops the whole
    process for ever.
    """
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return sys._current_frames().get(ident)
    gc.disable()
    try:
        return sys._current_frames().get(ident)
    finally:
        gc.enable()


def handler_in(top: FrameType, outer: set[CodeType]) -> FrameType | None:
    """The outermost function of the program that the loop has called, if one runs.

    :param top: the innermost frame of the loop's thread.
    :param outer: what runs the loop.
    """
    found = None
    frame: FrameType | None = top
    while frame is not None and frame.f_code not in outer:
        if is_of_program(frame):
            found = frame
        frame = frame.f_back
    return found


def innermost_of_program(top: FrameType) -> FrameType:
    """Where the program is: the last of its functions that was called."""
    frame = top
    while frame.f_back is not None and not is_of_program(frame):
        frame = frame.f_back
    return frame


def is_of_program(frame: FrameType) -> bool:
    """Whether a frame is neither this library's nor a loop's."""
    name = frame.f_code.co_filename
    return not name.startswith((_OURS, "<frozen")) and not any(part in name for part in _LOOPS)
