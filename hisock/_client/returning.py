"""The handler of ``reconnect``, which runs before what was kept meanwhile is sent.

A server knows nothing of a client that comes back: the handler enters rooms and logs in again. So
what others send waits with what was kept until the handler has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from hisock._client.session import Session
from hisock._core.client_events import ClientEvents

#: Seconds that the handler may take before the offline buffer is sent anyway.
HANDLER_SECONDS = 5.0

#: The session that the running handler of ``reconnect`` was called for.
_HANDLED: ContextVar[object] = ContextVar("hisock_returning", default=None)


def fire_reconnect(events: ClientEvents, session: Session, ended: Callable[[], object]) -> None:
    """Call the handlers of ``reconnect``; ``ended`` is called when all of them have ended."""
    left = events.count("reconnect")
    if not left:
        ended()
        return
    lock = threading.Lock()

    def done(result: Any, exc: BaseException | None) -> None:
        nonlocal left
        with lock:
            left -= 1
            over = not left
        if over:
            ended()

    token = _HANDLED.set(session)
    try:
        events.fire_and_tell("reconnect", done)
    finally:
        _HANDLED.reset(token)


def holds_back(session: Session) -> bool:
    """Whether what the caller sends waits until what was kept is sent."""
    return session.returning and _HANDLED.get() is not session
