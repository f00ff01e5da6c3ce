"""The same for tests that are not async: every call runs the loop until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

from hisock._core.error_handlers import ErrorContext
from hisock._testing.recording import RecordedFrame
from hisock._testing.server import TestServer
from hisock.async_client import AsyncHiSockClient
from hisock.server import HiSockServer

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: In place of a part, when a stream has ended.
_END: Any = object()


class BlockingClock:
    """Moves the time of a :class:`BlockingTestServer`."""

    def __init__(self, inner: TestServer, run: Run) -> None:
        self._inner = inner
        self._run = run

    def time(self) -> float:
        """The time of the server, in seconds."""
        return self._inner.clock.time()

    def advance(self, seconds: float) -> None:
        """Let time pass; see :meth:`hisock.testing.Clock.advance`."""
        self._run(self._inner.clock.advance(seconds))


class BlockingTestClient:
    """A client of a :class:`BlockingTestServer`.

    What is not here is on :attr:`client`, an :class:`hisock.AsyncHiSockClient`.
    """

    def __init__(self, client: AsyncHiSockClient, inner: TestServer, run: Run) -> None:
        self.client = client
        self._inner = inner
        self._run = run

    def on(self, command: str, **options: Any) -> Callable[[F], F]:
        """See :meth:`hisock.AsyncHiSockClient.on`."""
        return self.client.on(command, **options)

    def send(self, command: str, content: Any = None, acknowledged: bool = False) -> None:
        """Send a command, and wait until the server and all clients have handled what follows."""
        self.client.send(command, content, acknowledged=acknowledged)
        self._run(self._inner.settle())

    def call(
        self,
        command: str,
        content: Any = None,
        type: Any = None,
        timeout: float | None = 5.0,
        *,
        advance: float = 0.0,
    ) -> Any:
        """See :meth:`hisock.AsyncHiSockClient.call`.

        :param advance: seconds to move the clock by while the call is under way, for a handler
            that waits. Default 0.
        """
        call = self.client.call(command, content, type, timeout)
        return self._run(self._advancing(call, advance) if advance else call)

    async def _advancing(self, call: Coroutine[Any, Any, Any], seconds: float) -> Any:
        answer = asyncio.ensure_future(call)
        try:
            await self._inner.clock.advance(seconds)
            return await answer
        finally:
            answer.cancel()

    def stream(
        self, command: str, content: Any = None, type: Any = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """See :meth:`hisock.AsyncHiSockClient.stream`."""
        parts = self.client.stream(command, content, type, timeout)

        async def next_part() -> Any:
            return await anext(parts, _END)

        try:
            while (part := self._run(next_part())) is not _END:
                yield part
        finally:
            self._run(parts.aclose())

    def recv(self, command: str | None = None, type: Any = bytes, timeout: float = 5.0) -> Any:
        """See :meth:`hisock.AsyncHiSockClient.recv`."""
        return self._run(self.client.recv(command, type, timeout))

    def change_name(self, new_name: str | None) -> None:
        """See :meth:`hisock.AsyncHiSockClient.change_name`; waits until it has been decided."""
        self.client.change_name(new_name)
        self._run(self._inner.settle())

    def change_group(self, new_group: str | None) -> None:
        """See :meth:`hisock.AsyncHiSockClient.change_group`; waits until it has been decided."""
        self.client.change_group(new_group)
        self._run(self._inner.settle())

    @property
    def name(self) -> str | None:
        """What the client is called."""
        return self.client.name

    @property
    def group(self) -> str | None:
        """The group that the client is in."""
        return self.client.group

    def close(self) -> None:
        """Say goodbye and close."""
        self._run(self.client.close())
        self._run(self._inner.settle())

    @property
    def closed(self) -> bool:
        """Whether the client is closed, by whichever side."""
        return self.client.closed


class BlockingTestServer:
    """A server, its clients and its clock for a plain test: ``with BlockingTestServer(server)``.

    Parameters and attributes as for :class:`TestServer`. Threaded handlers are for real servers:
    here they run in threads of their own, and nothing waits for them.
    """

    clock: BlockingClock

    def __init__(self, server: HiSockServer, *, raise_errors: bool = True) -> None:
        self.server = server
        self._inner = TestServer(server, raise_errors=raise_errors)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def frames(self) -> list[RecordedFrame]:
        """What went between the server and its clients, both ways, in order."""
        return self._inner.frames

    @property
    def errors(self) -> list[tuple[Exception, ErrorContext]]:
        """What handlers raised, with the context of each."""
        return self._inner.errors

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "this runs inside of a with block"
        return self._loop.run_until_complete(coroutine)

    def connect(
        self, name: str | None = None, group: str | None = None, **options: Any
    ) -> BlockingTestClient:
        """A client that has joined; see :meth:`TestServer.connect`."""
        client = self._run(self._inner.connect(name, group, **options))
        return BlockingTestClient(client, self._inner, self._run)

    def settle(self) -> None:
        """Wait until everything that was sent has been handled."""
        self._run(self._inner.settle())

    def __enter__(self) -> BlockingTestServer:
        self._loop = asyncio.SelectorEventLoop()
        try:
            self._run(self._inner.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        self.clock = BlockingClock(self._inner, self._run)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        try:
            self._run(self._inner.__aexit__(exc_type, exc, traceback))
        finally:
            self._loop.close()
