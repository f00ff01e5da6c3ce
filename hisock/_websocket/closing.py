"""The close codes of WebSockets, by the kinds of end that a server counts."""

from __future__ import annotations

from typing import Final

_NORMAL: Final = 1000
#: Bytes of a reason at most; a close frame has room for 123.
_LONGEST_REASON: Final = 120

#: Of these a client comes back after 1001 and 1013, and not after the others.
_CODES: Final = {
    "closed": 1001,
    "framing": 1002,
    "protocol": 1002,
    "hello": 1008,
    "flood": 1008,
    "keepalive": 1001,
    "full": 1013,
    "slow": 1013,
    "memory": 1013,
    "failed": 1011,
    "rejected": 4003,
    "replaced": 4009,
}


def close_code(kind: str) -> int:
    """The code for an end of that kind; 1000 for the ordinary ones."""
    return _CODES.get(kind, _NORMAL)


def cut(reason: str) -> str:
    """A reason that fits in a close frame."""
    return reason.encode("utf-8", "replace")[:_LONGEST_REASON].decode("utf-8", "ignore")
