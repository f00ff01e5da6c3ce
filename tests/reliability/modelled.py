"""What the model of a server knows of each client, and what clients of it do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from support import Frame, Peer, frame

NAMES = st.sampled_from([None, "ann", "bob", "carla", "größe"])
GROUPS = st.sampled_from([None, "red", "blue"])
ROOMS = st.sampled_from(["hall", "attic"])

#: What ends a connection, whoever sends it.
GARBAGE = st.sampled_from(
    [
        b"\xff" * 16,
        b"-1              x",
        b"99999999        ",
        frame(b"$CMD$$MSG$x"),
        frame(b"$CMD$a $b$ c$MSG$x"),
        frame(b"$CMD$\xff$MSG$x"),
        frame(b"$CLTHELLO$" + b"{}"),
        frame(b"$DISCONN$"),
        frame(b"$KEEPACK$data"),
        frame(b"$CHNAME$\xff"),
    ]
)


@dataclass(eq=False)
class Client:
    """One raw connection, what it did, and what it has received.

    :ivar wanted: what the server has to write down about it, in this order.
    :ivar ending: whether it has ended, or done what must end it.
    :ivar gone: whether there is no more to read.
    :ivar cut: whether it broke off, so that what was sent after its last act may be lost.
    """

    peer: Peer
    joined_with: tuple[str | None, str | None]
    name: str | None
    group: str | None
    wanted: list[tuple[Any, ...]] = field(default_factory=list)
    received: list[Frame] = field(default_factory=list)
    ending: bool = False
    gone: bool = False
    cut: bool = False

    @property
    def ip(self) -> str:
        return self.peer.ip

    def want(self, *event: Any) -> None:
        self.wanted.append(event)


def readable(got: Frame) -> tuple[Any, ...]:
    if got.command is not None:
        assert got.message is not None
        return got.command, got.message.decode()
    if got.reserved in ("CLTCONN", "CLTDISCONN"):
        info = json.loads(got.data)
        ip, port = info["ip"]
        event = "join" if got.reserved == "CLTCONN" else "leave"
        return event, f"{ip}:{port}", info["name"], info["group"]
    return (got.reserved,)
