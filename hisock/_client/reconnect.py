"""When a client that lost its server tries again."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from hisock._core.checks import require_numbers
from hisock._core.public import publish

#: Seconds after which a connection to a server without a hello counts as established.
GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Reconnect:
    """How a client comes back after a lost connection.

    :param initial: seconds before the first attempt.
    :param maximum: seconds that the wait between attempts grows to at most.
    :param factor: by how much it grows from one attempt to the next.
    :param jitter: the share of each wait that is random, 0 to 1, so that many clients which lost
        one server do not all come back at the same moment.
    :param attempts: after how many failed attempts to give up; ``None`` never does.
    """

    initial: float = 0.25
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        require_numbers(self, "initial maximum factor jitter", optional="attempts")
        if self.initial < 0 or self.maximum < self.initial or self.factor < 1:
            raise ValueError("a reconnect needs 0 <= initial <= maximum and factor >= 1")
        if self.attempts is not None and self.attempts < 0:
            raise ValueError(f"attempts is 0 or more, or None, not {self.attempts}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter}")

    def delays(self) -> Iterator[float]:
        """Seconds to wait before each attempt."""
        delay = self.initial
        made = 0
        while self.attempts is None or made < self.attempts:
            yield delay * (1 - self.jitter * random.random())
            delay = min(delay * self.factor, self.maximum)
            made += 1

    @classmethod
    def of(cls, option: Reconnect | bool | None) -> Reconnect | None:
        """The policy that the option ``reconnect=`` stands for.

        :raises TypeError: it stands for none.
        """
        if option is True:
            return cls()
        if option and not isinstance(option, Reconnect):
            raise TypeError(f"reconnect is True or a hisock.Reconnect, not {option!r}")
        return option or None


class OfflineBuffer:
    """What is sent while there is no connection, in order.

    :param limit: bytes to keep at most; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._frames: deque[bytes] | None = None  # made for the first frame

    def add(self, frame: bytes) -> bool:
        """Keep a frame; ``False`` when it does not fit any more."""
        if self._size + len(frame) > self._limit:
            return False
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)
        self._size += len(frame)
        return True

    @property
    def first(self) -> bytes | None:
        """The frame to send next; kept until :meth:`drop_first`."""
        return self._frames[0] if self._frames else None

    def drop_first(self) -> None:
        """The first frame has been written to a connection."""
        assert self._frames is not None, "there is a first frame"
        self._size -= len(self._frames.popleft())


publish("hisock", globals(), ("Reconnect",))
