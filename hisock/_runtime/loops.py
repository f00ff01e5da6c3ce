"""Which event loop a server runs on, how signals end it, and how its transports are written to."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal

LoopName = Literal["auto", "asyncio", "uvloop"]

#: Whether asyncio's writelines() never says that the other side is behind, so that what waits for
#: it has no bound: CVE-2024-12254.
_NEVER_PAUSES = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)


def write_chunks(transport: asyncio.WriteTransport, chunks: list[bytes]) -> None:
    """Write all of them, in one go where that is safe."""
    if _NEVER_PAUSES:
        transport.write(b"".join(chunks))  # as older versions do themselves
    else:
        transport.writelines(chunks)


def fast_loop_module() -> Any | None:
    """The module of the faster loop for this platform (uvloop, winloop), if it is installed."""
    try:
        return importlib.import_module("winloop" if sys.platform == "win32" else "uvloop")
    except ImportError:
        return None


def loop_name(choice: LoopName = "auto") -> str:
    """The name of the loop that :func:`new_loop` would make."""
    module = None if choice == "asyncio" else fast_loop_module()
    return "asyncio" if module is None else str(module.__name__)


def new_loop(choice: LoopName) -> asyncio.AbstractEventLoop:
    """A new event loop.

    :param choice: ``"auto"`` takes uvloop or winloop when it is installed, else asyncio's own.
    :raises ValueError: there is no such choice.
    :raises ImportError: ``"uvloop"`` was asked for and is not installed.
    """
    if choice not in ("auto", "asyncio", "uvloop"):
        raise ValueError(f"loop is 'auto', 'asyncio' or 'uvloop', not {choice!r}")
    module = None if choice == "asyncio" else fast_loop_module()
    if module is None and choice == "uvloop":
        raise ImportError("uvloop is not installed; pip install hisock[fast]")
    loop: asyncio.AbstractEventLoop
    loop = asyncio.new_event_loop() if module is None else module.new_event_loop()
    return loop


def require_none_running(what: str, instead: str) -> None:
    """Raise where a loop runs in this thread already, and ``what`` would have to run another.

    :raises RuntimeError: one runs.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            f"{what} would hold up the event loop that runs in this thread; await {instead} there"
        )


class Signalled:
    """Which signal has asked for the end.

    :ivar interrupted: whether it was SIGINT, which Ctrl-C sends.
    """

    interrupted = False


@contextlib.contextmanager
def ended_by_signals(stop: Callable[[], None]) -> Iterator[Signalled]:
    """Let SIGINT and SIGTERM call ``stop``; a second SIGINT interrupts whatever runs.

    Only in the main thread, and only where the program has no handler of its own.
    """
    signalled = Signalled()
    if threading.current_thread() is not threading.main_thread():
        yield signalled
        return
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        signalled.interrupted = not asked and number == signal.SIGINT
        asked = True
        stop()

    ours: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    replaced = [number for number, default in ours.items() if signal.getsignal(number) == default]
    for number in replaced:
        signal.signal(number, on_signal)
    try:
        yield signalled
    finally:
        for number in replaced:
            signal.signal(number, ours[number])


def expect_large_messages(size: int) -> None:
    """Keep the memory of large messages in the process instead of giving it back each time.

    glibc asks the system for every block over a threshold, and each new page of it costs a fault:
    256 of them for a message of 1 MiB. Freeing one large block raises the threshold, for good
    (``mallopt(3)``, M_MMAP_THRESHOLD). The block is never touched, so it takes no memory.
    """
    bytes(size)


def raise_descriptor_limit() -> None:
    """Let the process have as many descriptors, and so connections, as the system allows it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def set_reading(transport: asyncio.Transport, reading: bool) -> None:
    """Read on from a transport, or stop reading; does nothing for one that is closing."""
    if transport.is_closing():
        return
    if reading:
        transport.resume_reading()
    else:
        transport.pause_reading()
