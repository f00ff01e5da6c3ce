"""Event loops: which one a server runs on, signals that end it, and its transports."""

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

from hisock._runtime.accepting import resume_reading

LoopName = Literal["auto", "asyncio", "uvloop"]

#: Whether asyncio's writelines() never calls pause_writing(), so that a backlog grows without
#: bound: CVE-2024-12254.
_NEVER_PAUSES = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)

#: Bytes from which on a chunk is not joined with others, and of its beginning, which is.
_LONG = 131072
_BEGINNING = 65536


def write_chunks(transport: asyncio.WriteTransport, chunks: list[bytes]) -> None:
    """Write all chunks, with ``writelines`` where that is safe and copies nothing."""
    kind = type(transport)
    if kind.writelines is asyncio.WriteTransport.writelines or (
        _NEVER_PAUSES and kind.__module__ == "asyncio.selector_events"
    ):
        _write_apart(transport, chunks)
    else:
        transport.writelines(chunks)


def _write_apart(transport: asyncio.WriteTransport, chunks: list[bytes]) -> None:
    """Join short chunks, and those before a long one with its beginning, but copy no more of it.

    The peer gets the head of a message together with enough of it to receive the rest in place.
    """
    short: list[bytes | memoryview] = []
    for chunk in chunks:
        if len(chunk) < _LONG:
            short.append(chunk)
            continue
        view = memoryview(chunk)
        transport.write(b"".join([*short, view[:_BEGINNING]]))
        transport.write(view[_BEGINNING:])
        short = []
    if short:
        transport.write(b"".join(short))


def fast_loop_module() -> Any | None:
    """The module of the faster loop for this platform (uvloop, winloop), if it is installed."""
    try:
        return importlib.import_module("winloop" if sys.platform == "win32" else "uvloop")
    except ImportError:  # pragma: no cover - uvloop is installed where it is measured
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
    """Refuse to block a thread in which an event loop runs.

    :raises RuntimeError: a loop runs in this thread.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            f"{what} would hold up the event loop that runs in this thread; await {instead} there"
        )


class Signalled:
    """The signal that ended a server.

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
    """Make malloc keep the memory of large messages instead of returning it to the kernel.

    glibc maps every block over a threshold anew, and each page of it costs a page fault: 256 for a
    message of 1 MiB. Freeing one large block raises the threshold permanently (``mallopt(3)``,
    M_MMAP_THRESHOLD). The block is never touched, so it occupies no memory.
    """
    bytes(size)


def raise_descriptor_limit() -> None:
    """Raise the limit of file descriptors, and so of connections, as far as the system allows."""
    try:
        import resource
    except ImportError:  # pragma: no cover - on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def set_reading(transport: asyncio.Transport, reading: bool) -> None:
    """Resume or pause reading from a transport; does nothing if it is closing."""
    if transport.is_closing():
        return
    if reading:
        resume_reading(transport)
    else:
        transport.pause_reading()
