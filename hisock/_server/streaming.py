"""Replies that a server sends in parts: handlers that are generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from hisock._core import call_frames
from hisock._core.account import frame_size
from hisock._core.jobs import Done, Job
from hisock._core.parts import is_stream
from hisock.exceptions import ConnectionLost

if TYPE_CHECKING:
    from hisock._server.connection import Connection


class Streaming:
    """One reply in parts, while it is sent.

    :param source: yields the parts.
    :param done: told of its end.
    """

    def __init__(
        self, connection: Connection, call: call_frames.Call, source: Any, done: Done
    ) -> None:
        self._connection = connection
        self._call = call
        self._source = source
        self._done = done
        self._room = call_frames.FIRST_PARTS
        #: Done when there is room again. There may be thousands of streams, and an event would be
        #: three objects more of each for garbage collections to look at.
        self._more: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Send the parts in a task, which ``$CANCEL$`` and the connection's end cancel."""
        connection, number = self._connection, self._call.number
        answering, runner = connection.answering, connection.hub.runner
        answering.streams(number, self._take_more)
        job = Job(
            runner,
            self._call.command,
            connection,
            connection.info,
            self._done,
            partial(answering.runs, number),
            frame_size(self._call.command, self._call.message),
        )
        runner.in_task(self._run(), job, ordered=False)

    def _take_more(self) -> None:
        self._room += call_frames.PARTS_PER_MORE
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def _run(self) -> None:
        source = self._source
        try:
            if isinstance(source, Generator):
                for part in source:
                    await self._send(part)
            else:
                async for part in source:
                    await self._send(part)
        finally:
            await close_source(source)

    async def _send(self, part: Any) -> None:
        while not self._room:
            self._more = asyncio.get_running_loop().create_future()
            await self._more
        self._room -= 1
        hub = self._connection.hub
        await hub.runner.parts.wait()  # a generator may never wait for anything
        message = hub.events.codec.encode_exactly(part)
        frame = call_frames.build_part(self._call.number, message, hub.header_len)
        if not self._connection.writer.write_control(frame):
            raise ConnectionLost("the client is no longer connected")


async def close_source(source: AsyncGenerator[Any, None] | Generator[Any, None, None]) -> None:
    """End a generator, so that its ``finally`` runs now."""
    if isinstance(source, Generator):
        source.close()
    else:
        await source.aclose()


def answer_streamed(connection: Connection, call: call_frames.Call, done: Done) -> Done:
    """What a handler's result is told to, where the caller wants it in parts."""

    def begin(result: Any, exc: BaseException | None) -> None:
        if exc is not None:
            done(None, exc)
        elif is_stream(result):
            streaming = Streaming(connection, call, result, done)
            if not connection.hub.thread.is_current():
                connection.hub.thread.post(streaming.start)
            else:
                streaming.start()
        else:
            done(None, TypeError(f"the handler of {call.command!r} yields nothing; use call()"))

    return begin


def answer_whole(command: str, done: Done) -> Done:
    """What a handler's result is told to, where the caller wants it at once."""

    def finish(result: Any, exc: BaseException | None) -> None:
        if exc is None and is_stream(result):
            exc = TypeError(f"the handler of {command!r} yields its replies; use stream()")
            result = None
        done(result, exc)

    return finish
