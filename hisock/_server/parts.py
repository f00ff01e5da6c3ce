"""Handling the frames of one read in parts, so that no client keeps the others waiting for long.

A read holds thousands of frames if they are short. The time that they take is measured, for all
clients together; once an iteration of the loop has spent enough, the rest is put aside, as if it
had been read later.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final

from hisock._core.account import Use, frames_size
from hisock._framing_common import MANY, SHORT_READ
from hisock.framing import Frame

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: The reason for a pause in reading: frames have been put aside.
_ASIDE: Final = "aside"


class _Turn:
    """The turn of a connection that has put frames aside; it has one at a time."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turn) and other._connection is self._connection

    def __hash__(self) -> int:
        return hash((_Turn, self._connection))

    def begin(self) -> None:
        """What it reads waits behind what is put aside."""
        self._connection.begin()
        self._connection.pauses.set(_ASIDE, True)

    def idle(self) -> None:
        """It is its turn."""
        self._connection.pauses.set(_ASIDE, False)
        self._connection.go_on()


def take_in_parts(connection: Connection, frames: Sequence[Frame]) -> None:
    """Handle the frames of one read; put them aside once this iteration's time is used up."""
    if connection.aside:  # over TLS more may come although reading is paused
        _put_aside(connection, frames)
        return
    if len(frames) < MANY or not connection.joined:
        connection.take(list(frames))
        return
    turns = connection.hub.runner.turns
    began = perf_counter()
    for at in range(0, len(frames), MANY):
        if turns.used_up:
            _put_aside(connection, frames[at:])
            turns.hold_up(_Turn(connection))
            return
        connection.take(list(frames[at : at + MANY]))
        if connection.ended:
            return
        now = perf_counter()
        turns.spend(now - began)
        began = now
    if turns.used_up:
        _read_less(connection.hub)


def _read_less(hub: Hub) -> None:
    """Read less of each connection for the rest of this iteration, which has taken long enough.

    A hundred that begin to flood at once may all be read in one iteration, at 0.6 ms each, only to
    put aside what they sent.
    """
    if not hub.flushing.reads_less:
        hub.flushing.reads_less = True
        hub.scratch.narrow(SHORT_READ)
        hub.loop.call_soon(_read_all_again, hub)


def _read_all_again(hub: Hub) -> None:
    hub.flushing.reads_less = False
    hub.scratch.widen()


def take_again(connection: Connection, frames: Sequence[Frame]) -> None:
    """Handle frames that were put aside."""
    connection.account.take_many(Use.DEFERRED, -len(frames), -frames_size(frames))
    try:
        take_in_parts(connection, frames)
    except (SystemExit, KeyboardInterrupt) as exc:
        connection.hub.interrupt(exc)


def lose_turns(connection: Connection) -> None:
    """A connection has ended, so that it does not wait for its turns any more."""
    connection.hub.flushing.leave(connection)
    turns = connection.hub.runner.turns
    turns.leave(connection)
    if connection.aside:
        turns.leave(_Turn(connection))


def _put_aside(connection: Connection, frames: Sequence[Frame]) -> None:
    _read_less(connection.hub)
    connection.aside += tuple(frames)
    connection.account.take_many(Use.DEFERRED, len(frames), frames_size(frames))
    if connection.hub.memory.over:
        connection.hub.loop.call_soon(connection.hub.backpressure.free_memory, connection)
