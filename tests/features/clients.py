"""Clients of every kind, driven by tests that block."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from support import Events
from support.events import PATIENCE

import hisock

from .loops import run_on, turns
from .wire import HandServer

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own, for async clients of tests that block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(3 * PATIENCE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        run_on(self.loop, turns(1))


Kind = Literal["plain", "threaded", "async"]
KINDS: tuple[Kind, ...] = ("plain", "threaded", "async")


class AnyClient:
    """A client of one of the three kinds, used by a test that blocks.

    ``plain`` is not started: it reads while it is asked to. ``client`` is the client itself.
    """

    def __init__(
        self,
        kind: Kind,
        addr: Any,
        name: str | None = None,
        group: str | None = None,
        **options: Any,
    ) -> None:
        self.kind = kind
        self._thread: LoopThread | None = None
        self._client: Any = None
        self._connecting: Any = None
        self._early: list[Callable[[Any], Any]] = []
        if kind == "plain":
            self._client = hisock.connect(addr, name, group, **options)
        elif kind == "threaded":
            self._client = hisock.threaded_connect(addr, name, group, **options)
        else:
            self._thread = LoopThread()
            connecting = self._connect(hisock.async_connect(addr, name, group, **options))
            self._connecting = asyncio.run_coroutine_threadsafe(connecting, self._thread.loop)
            # A server by hand answers when the test has it do so, not before.
            if addr not in HandServer.listening or options.keys() & {"token", "codec"}:
                try:
                    self._connecting.result(3 * PATIENCE)
                except BaseException:
                    self._thread.close()
                    raise

    async def _connect(self, connecting: Any) -> None:
        client = await connecting
        for act in self._early:
            act(client)
        self._client = client

    @property
    def client(self) -> Any:
        """The client itself, once it is there."""
        if self._connecting is not None:
            self._connecting.result(3 * PATIENCE)
        return self._client

    def start(self) -> None:
        """Handlers are registered: let a client that has to be started run."""
        if self.kind == "threaded":
            self.client.start()

    def _do(self, method: str, *args: Any, **kwargs: Any) -> Any:
        func = getattr(self.client, method)
        if self._thread is None:
            return func(*args, **kwargs)

        async def do() -> Any:
            result = func(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return self._thread.run(do())

    def on(self, command: str, handler: Callable[..., Any], **options: Any) -> None:
        def register(client: Any) -> None:
            client.on(command, **options)(handler)

        if self._thread is None:
            register(self._client)
        else:
            self._thread.run(self._soon(register))

    async def _soon(self, act: Callable[[Any], Any]) -> None:
        """Do something with the client as soon as it is there."""
        if self._client is None:
            self._early.append(act)
        else:
            act(self._client)

    def send(self, command: str, content: Any = None, **options: Any) -> None:
        self._do("send", command, content, **options)

    def recv(self, command: str | None = None, kind: Any = bytes, timeout: float = PATIENCE) -> Any:
        return self._do("recv", command, kind, timeout)

    def call(
        self, command: str, content: Any = None, kind: Any = None, timeout: float | None = PATIENCE
    ) -> Any:
        return self._do("call", command, content, kind, timeout)

    def change_name(self, name: str | None) -> None:
        self._do("change_name", name)

    def change_group(self, group: str | None) -> None:
        self._do("change_group", group)

    def pump(self, until: Callable[[], Any]) -> None:
        """Go on until something is so; a plain client has to read meanwhile."""
        clock = threading.Event()
        for _ in range(int(PATIENCE * 100)):
            if until():
                return
            if self.kind == "plain":
                self.client.update()
            clock.wait(0.01)
        raise AssertionError("it did not come to that")

    @property
    def waiting_calls(self) -> int:
        """The size of the client's call table."""
        return len(self.client._driver.session.calls)

    @property
    def closed(self) -> bool:
        return bool(self.client.closed)

    def close(self) -> None:
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        else:
            self._do("close")
        if self._thread is not None:
            self._thread.close()

    def __enter__(self) -> AnyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


#: Soon, and without a limit: what is tested is not how long it takes.
SOON = hisock.Reconnect(initial=0.02, maximum=0.1)
#: Not before the test is over.
LATER = hisock.Reconnect(initial=60, maximum=60)


class Watched:
    """A client that reconnects, and what it says of it."""

    def __init__(self, kind: Kind, addr: Any, *args: Any, **options: Any) -> None:
        self.events = Events()
        self.any = AnyClient(kind, addr, *args, reconnect=options.pop("reconnect", SOON), **options)
        self.any.on("disconnect", lambda reason: self.events.add("disconnect", reason))
        self.any.on("reconnect", lambda: self.events.add("reconnect"))
        self.any.start()

    def until(self, what: str, count: int = 1) -> None:
        """Wait for the count-th event of that name, reading if the client has to."""
        self.any.pump(lambda: len(self.events.named(what)) >= count)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.any.close()
