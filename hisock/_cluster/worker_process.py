"""One worker as its parent sees it: started, serving, told to end, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from hisock._cluster.assignment import Assignment
from hisock._cluster.control import Control, ControlMessage


class WorkerProcess:
    """A process that runs the program as a worker.

    :ivar number: the worker's number.
    :ivar ready: done when it accepts clients; fails with :class:`WorkerFailed` if it ends before.
    :ivar ended: done with the exit status when it has ended; negative for a signal.
    :ivar began: when it was started, by the monotonic clock.
    """

    def __init__(
        self, number: int, received: Callable[[WorkerProcess, ControlMessage], None]
    ) -> None:
        self.number = number
        self.began = time.monotonic()
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Event = asyncio.Event()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.told_to_end = False
        self._received = received
        self.control = Control(self._hear, lambda: None)
        self._process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self, command: Sequence[str], listeners: Sequence[int], **rest: Any) -> None:
        """Start it.

        :param listeners: the descriptors of its listening sockets.
        :param rest: what else its :class:`Assignment` says.
        :raises OSError: the system starts no more processes.
        """
        ours, theirs = socket.socketpair()
        try:
            part = Assignment(
                number=self.number,
                control=theirs.fileno(),
                inode=os.fstat(theirs.fileno()).st_ino,
                listeners=tuple(listeners),
                **rest,
            )
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=part.environment(),
                pass_fds=part.descriptors,
                # Ctrl-C is for the parent, which ends the workers in order.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        await self.control.open(ours)
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        status = await self._process.wait()
        self.control.close()
        self.ended.set_result(status)

    def _hear(self, message: ControlMessage) -> None:
        if message["kind"] == "ready":
            self.ready.set()
        self._received(self, message)

    async def wait_ready(self, timeout: float) -> bool:
        """Wait until it accepts clients; returns whether it does."""
        serving = asyncio.ensure_future(self.ready.wait())
        await asyncio.wait(
            (serving, self.ended), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        serving.cancel()
        return self.ready.is_set() and not self.ended.done()

    async def end(self, timeout: float) -> None:
        """Have it close its server in order, and kill it if that takes longer."""
        self.told_to_end = True
        self._signal(signal.SIGTERM)
        await asyncio.wait((self.ended,), timeout=timeout)
        if not self.ended.done():
            self._signal(signal.SIGKILL)
            await self.ended

    def kill(self) -> None:
        self.told_to_end = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def how_it_ended(self) -> str:
        """Its end, in words."""
        status = self.ended.result()
        if status >= 0:
            return f"exit status {status}"
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"
