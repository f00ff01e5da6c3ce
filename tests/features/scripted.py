"""What the servers of the client models answer: the same to every kind of client."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, settings

HELLO = {"features": ["call", "reject"], "codec": "json", "keepalive": 20}
#: What every kind of client is put through, besides being lost, kicked and closed.
STEPS = ["plain", "unhandled", "recv", "answered", "ignored", "ask", "tell"]

MODEL = settings(deadline=None, suppress_health_check=list(HealthCheck))


def answer(payload: bytes) -> bytes | None:
    """What is said to a hello, a question, or a call of ``answered``; calls of others wait."""
    if payload.startswith(b"$CLTHELLO$"):
        return b"$SRVHELLO$" + json.dumps(HELLO).encode()
    if payload.startswith(b"$GETCLT$"):
        return b'{"traceback": "$NOEXIST$"}'
    if payload.startswith(b"$CALL$"):
        number, _, command = payload[len(b"$CALL$") :].partition(b"$CMD$")
        if command.startswith(b"answered"):
            return b"$REPLY$" + number
    return None
