"""The streams of a node where two threads send at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from hisock._cluster.batch import HEAD_BYTES, Sealer
from hisock._cluster.records import Beat, entry_of
from hisock._cluster.streams import Streams
from hisock._runtime.loop_thread import LoopThread

NODE, OTHER = "00000000000000aa", "00000000000000bb"


class Link:
    """A link that keeps the batches."""

    broadcasts = False
    most_bytes = 65536

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, node: str, batch: bytes) -> bool:
        self.sent.append(batch)
        return True


class Refilled(deque[Any]):
    """The loop's thread sends just when another thread has found that nothing more is gathered."""

    def __init__(self, late: Any) -> None:
        super().__init__()
        self.late = [late]

    def __bool__(self) -> bool:
        if len(self):
            return True
        self.extend(self.late)
        self.late.clear()
        return False


def test_what_the_loop_sends_while_another_thread_puts_is_not_lost() -> None:
    async def main() -> None:
        link, thread = Link(), LoopThread()
        thread.begin()
        streams = Streams(link, Sealer("app", None), NODE, thread, 0.0, 1 << 20)  # type: ignore[arg-type] # what is used of it
        streams.up = True
        streams.open_lane(OTHER)
        streams._gathered = Refilled(((OTHER,), entry_of(Beat(3, 0))))
        streams._gathered.append(((OTHER,), entry_of(Beat(1, 0))))
        streams.put((OTHER,), entry_of(Beat(2, 0)))
        streams.flush()
        expected = b"".join(entry_of(Beat(number, 0)) for number in (1, 2, 3))
        assert b"".join(batch[HEAD_BYTES:] for batch in link.sent) == expected
        thread.end()

    asyncio.run(main())
