"""The streams of a node: two threads that send at the same time, a link that is full."""

from __future__ import annotations

import asyncio
from threading import Thread

from support.memory import on_virtual_loop

from hisock._cluster.batch import HEAD_BYTES, Sealer, message_entry
from hisock._cluster.records import Beat, entry_of
from hisock._cluster.roster import Reached
from hisock._cluster.streams import Streams
from hisock._runtime.loop_thread import LoopThread

NODE, OTHER = "00000000000000aa", "00000000000000bb"


class Link:
    """A link that keeps the batches."""

    broadcasts = False
    most_bytes = 65536

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, node: str, batch: bytes, messages: int = 1) -> bool:
        self.sent.append(batch)
        return True


def test_what_another_thread_puts_goes_behind_what_the_loop_has_gathered() -> None:
    async def main() -> None:
        link, thread = Link(), LoopThread()
        thread.begin()
        streams = Streams(link, Sealer("app", None), NODE, thread, 0.0, 1 << 20)  # type: ignore[arg-type] # what is used of it
        streams.up = True
        streams.open_lane(OTHER)
        lobby = Reached("globby")
        lobby.names = (OTHER,)
        streams.pass_on(lobby, "group", "lobby", b"first")
        other_thread = Thread(target=streams.put, args=((OTHER,), entry_of(Beat(2, 0))))
        other_thread.start()
        other_thread.join()
        streams.pass_on(lobby, "group", "lobby", b"third")
        streams.flush()
        expected = [message_entry("globby", b"first"), entry_of(Beat(2, 0))]
        expected.append(message_entry("globby", b"third"))
        assert [batch[HEAD_BYTES:] for batch in link.sent] == [b"".join(filter(None, expected))]
        thread.end()

    asyncio.run(main())


def test_a_link_that_is_full_is_tried_again_by_one_timer() -> None:
    class Full(Link):
        """A link that takes nothing."""

        def send(self, node: str, batch: bytes, messages: int = 1) -> bool:
            super().send(node, batch, messages)
            return False

    async def main() -> None:
        link, thread = Full(), LoopThread()
        thread.begin()
        streams = Streams(link, Sealer("app", None), NODE, thread, 0.0, 1 << 20)  # type: ignore[arg-type] # what is used of it
        streams.up = True
        streams.open_lane(OTHER)
        streams.put((OTHER,), entry_of(Beat(1, 0)))
        for _ in range(50):  # as at each message that is sent meanwhile
            streams.flush()
        link.sent.clear()
        await asyncio.sleep(1.05)
        assert 9 <= len(link.sent) <= 12
        thread.end()

    on_virtual_loop(main())
