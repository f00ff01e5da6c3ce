"""What other threads ask of a loop just when it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from support import Events
from support.events import PATIENCE

from hisock._runtime.loop_thread import LoopThread


class Hesitant(LoopThread):
    """Its other threads post when the loop has ended, if it ends before they have."""

    def __init__(self) -> None:
        super().__init__()
        self.about_to_post = threading.Event()
        self.ended = threading.Event()

    def post(self, func: Callable[..., object], *args: Any) -> bool:
        self.about_to_post.set()
        self.ended.wait(0.5)
        return super().post(func, *args)


def test_a_thread_that_asks_when_the_loop_ends_does_not_wait_for_ever() -> None:
    thread, events = Hesitant(), Events()
    loop = asyncio.new_event_loop()
    caller = threading.Thread(
        target=lambda: thread.run(lambda: events.add("answered")), daemon=True
    )

    async def serve() -> None:
        thread.begin()
        caller.start()
        await loop.run_in_executor(None, thread.about_to_post.wait, PATIENCE)
        thread.end()

    loop.run_until_complete(serve())
    thread.ended.set()
    try:
        caller.join(PATIENCE)
        assert events.seen == [("answered",)]
    finally:
        loop.close()
