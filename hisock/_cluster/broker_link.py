"""What the links over brokers have in common: up and down, a bounded queue, tasks, the end.

A link over a broker derives from :class:`BrokerLink` and adds the official client of that broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection
from typing import Any

from hisock._cluster.brokers import PUBLISHER_ID, to_all, to_one, without_secrets
from hisock._cluster.link import (
    MOST_BATCH_BYTES,
    MOST_WAITING_BYTES,
    Claims,
    NodeHello,
    Receiver,
)
from hisock._core.log_fields import fields
from hisock._runtime.patience import within

logger = logging.getLogger("hisock.server")

#: Seconds between two attempts to reconnect.
RECONNECT_SECONDS = 0.1
#: Seconds without an answer after which a broker is given nothing more.
STALLED_SECONDS = 1.0
#: Seconds that :meth:`BrokerLink.close` waits for what was sent.
FAREWELL_SECONDS = 0.5


class BrokerLink(ABC):
    """One node's connection to a broker; see :class:`hisock._cluster.link.NodeLink`.

    :param client: the official client; ``None`` if :meth:`_run` makes it.
    :param urls: of the broker's servers; what is secret in them is kept out of the log.
    :cvar broker: what the broker is called in the log.
    """

    broadcasts = True
    probes = True
    most_bytes = MOST_BATCH_BYTES
    limit = MOST_WAITING_BYTES
    refused = 0  # a broker lets in whom it knows
    title: str
    broker: str
    claims: Claims
    _receiver: Receiver
    _app: str

    def __init__(self, client: Any, urls: list[str]) -> None:
        self._client = client
        self._urls = urls
        self.lag = 0.0
        self.dropped = 0
        #: Messages that were taken, and of these those that the broker is known to have.
        self._taken = self._arrived = 0
        self._up = False
        self._closing = False
        self._told_unreachable = False
        self._was_full = False
        #: Whether anything was sent since the broker was last asked.
        self._sent = False
        self._tasks: set[asyncio.Future[Any]] = set()

    # -- what each broker adds

    @abstractmethod
    async def _run(self, subjects: list[str]) -> None:
        """Connect and listen to the subjects, however long that takes.

        Calls :meth:`_went_up`, :meth:`_went_down` and :meth:`_unreachable`.
        """

    @abstractmethod
    def _publish(self, subject: str, batch: bytes) -> None:
        """Publish a batch, or begin to."""

    @abstractmethod
    def backlog(self, node: str | None) -> int:
        """Bytes that were taken and that the kernel does not have yet."""

    @abstractmethod
    def _stalled(self) -> bool:
        """Whether the broker has not answered for :data:`STALLED_SECONDS`."""

    @abstractmethod
    async def _written(self) -> None:
        """Wait until the broker has what was queued."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close the client."""

    @abstractmethod
    def _discard(self) -> None:
        """Drop what waits to be written: after an outage it would be late."""

    # -- up and down

    @property
    def client(self) -> Any:
        """The official client; ``None`` while it is not connected."""
        return self._client if self._up else None

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        self._receiver = receiver
        self._app = hello.app
        subjects = [to_one(hello.app, hello.node)]
        if not hello.node.startswith(PUBLISHER_ID):
            subjects.append(to_all(hello.app))
        self._begin(self._run(subjects))

    def _went_up(self) -> None:
        self._up, self._told_unreachable = True, False
        self._receiver.up()

    def _went_down(self, reason: str) -> None:
        if not self._up:
            return
        self._up = False
        self.dropped += self._taken - self._arrived
        self._arrived = self._taken
        self._discard()
        if not self._closing:
            self._receiver.down(reason)

    def _unreachable(self, exc: BaseException) -> None:
        """Log it, once in each outage."""
        if not self._told_unreachable:
            self._told_unreachable = True
            reason = self.reason(exc)
            said = fields("cluster_unreachable", reason=reason)
            text = "%s cannot be reached, trying again: %s"
            logger.warning(text, self.broker, reason, extra=said)

    def reason(self, exc: BaseException) -> str:
        """What an error says, without credentials."""
        return without_secrets(str(exc) or type(exc).__name__, self._urls)

    def _begin(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None and not self._closing:
            reason = self.reason(exc)
            said = fields("cluster_link_failed", reason=reason)
            logger.error("the link over %s failed: %s", self.broker, reason, extra=said)

    # -- batches

    def send(self, node: str, batch: bytes, messages: int = 1) -> bool:
        return self._give(to_one(self._app, node), batch, messages)

    def send_all(self, batch: bytes, messages: int = 1) -> bool:
        return self._give(to_all(self._app), batch, messages)

    def _give(self, subject: str, batch: bytes, messages: int) -> bool:
        if not self._up or self._closing:
            return False
        if self._stalled() or self.backlog(None) + len(batch) > self.limit:
            self._was_full = True
            return False
        self._sent = True
        self._taken += messages
        self._publish(subject, batch)
        return True

    def _tell_room(self) -> None:
        """Say that there is room again, if there was none."""
        if self._was_full and self.backlog(None) < self.limit // 4:
            self._was_full = False
            self._receiver.writable(None)

    # -- the end

    async def close(self, goodbye: Collection[bytes] = ()) -> None:
        if self._closing:
            return
        for batch in goodbye:
            self.send_all(batch)
        if self._up:
            with contextlib.suppress(Exception):
                await within(FAREWELL_SECONDS, self._written())
        self._closing = True
        # More than once: wait_for() of Python 3.11, which the clients of brokers use, raises what
        # has just failed instead.
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=RECONNECT_SECONDS / 2)
        with contextlib.suppress(Exception):
            await within(FAREWELL_SECONDS, self._disconnect())
        self._up = False
