"""The trace that a call belongs to, as W3C's ``traceparent``, from one peer to the other.

Nothing here traces: a program does, which sets :data:`source`. Without one, nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextvars import ContextVar
from typing import Final

#: The feature of peers that take a trace with a call.
FEATURE: Final = "trace"
#: Version, trace, span, flags.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
#: Characters of one.
LENGTH: Final = 55

#: The trace of the call that is being handled; ``None`` for a call without one, and a command.
incoming: ContextVar[str | None] = ContextVar("hisock_traceparent", default=None)
#: Tells the trace of what runs now; ``None`` while no program traces.
source: Callable[[], str | None] | None = None


def outgoing(features: Collection[str] | None) -> str | None:
    """The trace to send with a call.

    :param features: what the peer knows; ``None`` for a peer of 2.0.2.
    """
    if source is None or features is None or FEATURE not in features:
        return None
    return source()


def handle(trace: str | None, work: Callable[[], None]) -> None:
    """Begin to handle a call that belongs to a trace."""
    if trace is None:
        work()
        return
    token = incoming.set(trace)
    try:
        work()
    finally:
        incoming.reset(token)


def forget() -> None:
    """What is handled next belongs to no trace, although a call led to it."""
    if incoming.get() is not None:
        incoming.set(None)


def is_traceparent(text: str) -> bool:
    """Whether a text is a trace; others that peers send are ignored."""
    return _TRACEPARENT.fullmatch(text) is not None and not text.startswith("ff")
