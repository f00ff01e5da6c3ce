"""Answering HTTP while a server closes: 503, so that load balancers send people elsewhere."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from hisock._runtime.accepting import Accepting
from hisock._runtime.patience import within
from hisock._runtime.sockets import ListeningSocket

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: Connections that may ask at a time; more are closed unanswered.
_MOST = 64
#: Seconds that each of them has for its request, and for reading the answer.
_SECONDS = 2.0
#: Connections accepted in one iteration of the loop.
_MOST_AT_ONCE = 16


class Turnaway:
    """Accepts connections of one listening socket only to say that the server is closing.

    :param listening: the socket; it is closed in the end.
    :param accepting: gives the accepted sockets to the loop.
    """

    def __init__(self, hub: Hub, listening: ListeningSocket, accepting: Accepting) -> None:
        self._hub = hub
        self._listening = listening
        self._accepting = accepting
        self._asking: dict[asyncio.Task[None], Asking] = {}

    def start(self) -> bool:
        """Begin; returns ``False`` on loops that cannot watch a socket (asyncio's on Windows)."""
        try:
            self._hub.loop.add_reader(self._listening.sock.fileno(), self._take_some)
        except NotImplementedError:  # pragma: no cover - measured on Linux
            return False
        return True

    def close(self) -> None:
        """Hang up on requests that are not answered yet, and free the address."""
        self._hub.loop.remove_reader(self._listening.sock.fileno())
        for task, asking in self._asking.items():
            task.cancel()
            asking.hang_up()
        self._listening.close()
        self._accepting.close()

    def _take_some(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                sock, _peer = self._listening.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                # No descriptors are left. The listener stays readable, and the server ends soon.
                self._hub.loop.remove_reader(self._listening.sock.fileno())
                return
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        if len(self._asking) >= _MOST:
            sock.close()
            return
        asking = Asking()
        task = self._hub.loop.create_task(self._answer(asking, sock))
        self._asking[task] = asking
        task.add_done_callback(self._asking.pop)

    async def _answer(self, asking: Asking, sock: socket.socket) -> None:
        try:
            await within(_SECONDS, self._hand_over(asking, sock))
        except (OSError, asyncio.TimeoutError):
            asking.hang_up()
            sock.close()

    async def _hand_over(self, asking: Asking, sock: socket.socket) -> None:
        greeter = self._hub.greeter
        assert greeter is not None, "only where there may be HTTP"
        await self._accepting.accept(lambda: greeter.greet(asking), sock)
        await asking.over.wait()


class Asking:
    """A connection that may ask one thing by HTTP, and is let in for nothing else."""

    #: It is counted nowhere, and so has no address.
    addr = ("", 0)

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.ended = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is none by its class

    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(1)

    def buffer_updated(self, nbytes: int) -> None:
        """Hang up: a frame has come, and no HTTP request."""
        self.hang_up()

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Hang up, likewise."""
        self.hang_up()

    def take_turns(self, filled: bool) -> None:
        """Do nothing: a request is short, and read in one go."""

    def fail(self, kind: str, reason: str) -> None:
        """It has been answered, or cannot be."""
        self.ended = True
        if self._transport is not None:
            self._transport.close()

    def hang_up(self) -> None:
        self.ended = True
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.over.set()

    def pause_writing(self) -> None:
        """Do nothing: an answer is short."""

    def resume_writing(self) -> None:
        """Do nothing: an answer is short."""

    def move(self, transport: asyncio.Transport, addr: tuple[str, int]) -> None:
        """A WebSocket began before the server closed; it ends at once."""
        self.hang_up()

    def hold_below(self, size: int) -> None:
        """Nothing of it is kept."""
