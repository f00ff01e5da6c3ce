"""Whether a server of which nothing is heard is still there. No clock: the driver tells the time.

A server says in its hello how often it asks its clients for a sign of life. A client that hears
nothing for two such intervals asks in turn; if nothing comes for a third, the server is gone.
"""

from __future__ import annotations

import enum

from hisock._core.waiting import ReceivedFrame
from hisock.exceptions import ConnectionLost

#: Silent keepalive intervals after which the client asks for a sign of life.
_ASK_AFTER = 2
#: Seconds of grace after the deadline, in which bytes that have arrived are read first.
SECOND_LOOK = 0.1


class Verdict(enum.Enum):
    """What is to be done now."""

    WAIT = "wait"
    ASK = "ask"
    LOST = "lost"


class Vigil:
    """Watches over the silence of one server.

    :param interval: seconds between the server's own keepalives.
    :param now: the time, in seconds, on a clock that only goes forward.
    :ivar due: when :meth:`look` has something to say at the earliest.
    """

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self._heard = now
        self._asked = False
        self._looked = False
        self.due = now + _ASK_AFTER * interval

    def heard(self, now: float) -> None:
        """Bytes have arrived, or none could, because reading is paused."""
        self._heard = now
        self._asked = self._looked = False

    def look(self, now: float) -> Verdict:
        """What is to be done at this time; sets :attr:`due`."""
        if not self._asked:
            self.due = self._heard + _ASK_AFTER * self.interval
            if now < self.due:
                return Verdict.WAIT
            self._asked = True
            self.due = now + self.interval
            return Verdict.ASK
        if now < self.due:
            return Verdict.WAIT
        if not self._looked:
            self._looked = True
            self.due = now + SECOND_LOOK
            return Verdict.WAIT
        return Verdict.LOST

    def lost(self) -> ConnectionLost:
        """The error for a server that is gone."""
        seconds = (_ASK_AFTER + 1) * self.interval
        return ConnectionLost(f"nothing has been heard of the server for {seconds:g} seconds")


class _Nobody:
    """Takes an answer that only had to come."""

    def deliver(self, frame: ReceivedFrame) -> bool:
        return True

    def fail(self, exc: BaseException) -> None:
        pass


#: Waits for the answer to a question that only has to be answered.
NOBODY = _Nobody()
