"""The messages of the typed workloads, as the servers and the generators of load know them."""

from __future__ import annotations

from typing import Any

import msgspec


class Move(msgspec.Struct):
    """What a player sends; 72 bytes of JSON."""

    player: str
    x: float
    y: float
    speed: float
    turning: bool


KINDS: dict[str, Any] = {"struct": Move, "dict": dict[str, Any], "floats": list[float]}
