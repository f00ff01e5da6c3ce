"""What the model of decisions knows of each client, and what clients of it choose from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import strategies as st
from support.memory import MemoryPeer

import hisock

NAMES = st.sampled_from([None, "ann", "bob"])
GROUPS = st.sampled_from([None, "red", "blue"])
SECRETS = st.sampled_from([None, None, "one", "two"])
TURNS = st.integers(0, 6)
PICKS = st.integers(0, 4095)
MOST_CLIENTS = 6
#: Seconds that a call may take, and that the program may take to decide.
CALL_SECONDS, DECISION_SECONDS = 5.0, 60.0


@dataclass(eq=False)
class Player:
    """One connection: what it said, and what became of it.

    :ivar said: the numbers of its ordered commands; ``asked`` those of its calls.
    :ivar handled: the first ones as the server's handlers saw them.
    :ivar sent: what the server sent it, in order.
    :ivar kicked: whether what it said last may be lost; ``leaving``: whether it ended in order.
    """

    peer: MemoryPeer
    secret: str | None
    said: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    handled: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    joined: int = 0
    left: int = 0
    kicked: bool = False
    leaving: bool = False

    @property
    def active(self) -> bool:
        return not (self.peer.ended or self.kicked or self.leaving)


def check_call(may_wait: bool, calling: asyncio.Future[int]) -> None:
    """A call has ended once, with the answer or with an error that is due."""
    if may_wait and not calling.done():
        calling.cancel()
        return
    error = calling.exception()  # raises if it has not ended
    if error is None:
        assert calling.result() == 1
    else:
        known = (TimeoutError, hisock.ConnectionLost, hisock.ClientNotFound)
        assert isinstance(error, known), error


def replies(player: Player, number: int) -> int:
    """How often a call of a client was answered."""
    start = b"$REPLY$%d$" % number
    return sum((payload or b"").startswith(start) for payload in player.peer.named(None))
