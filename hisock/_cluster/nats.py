"""The link over NATS: core subjects for batches, a JetStream bucket for names.

Batches go out only while the client is connected, so that it has nothing to keep during an outage
and to deliver late. The official client reconnects; it is asked to look every 0.1 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

from hisock._cluster.broker_link import (
    FAREWELL_SECONDS,
    RECONNECT_SECONDS,
    STALLED_SECONDS,
    BrokerLink,
)
from hisock._cluster.brokers import broker_query, to_one
from hisock._cluster.link import MOST_WAITING_BYTES, NodeHello, Receiver
from hisock._cluster.nats_claims import NatsClaims
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit

logger = logging.getLogger("hisock.server")

#: Seconds between two measurements of the round trip, while nothing is sent and while much is.
_LAG_INTERVAL, _BUSY_INTERVAL = 1.0, 0.25
#: Seconds that the round trip should not take.
_LAG_WARNING = 0.25
#: Seconds between two warnings about it.
_WARNING_INTERVAL = 60.0
#: Seconds that the server may take to answer a ping. The client gives the connection up before, by
#: its own pings, since it would fail at an answer to a ping that nobody waits for any more.
_ANSWER_SECONDS = 10
#: Seconds that a probe waits for an answer.
_PROBE_SECONDS = 1.0


def make_link(url: str) -> NatsLink:
    """The link of ``nats://host:4222`` or ``tls://host:4222``; several with commas between them.

    A query after the last one names files: ``ca``, ``cert`` and ``key`` for TLS, ``creds`` or
    ``nkey`` for the user.

    :raises ImportError: nats-py is not installed.
    :raises ValueError: the query asks for something else.
    :raises OSError: one of the files cannot be read.
    """
    try:
        import nats
        import nats.errors
    except ImportError:  # pragma: no cover - the extra is installed where it is measured
        raise ImportError("nats: and tls: need nats-py; pip install 'hisock[nats]'") from None
    servers, _, query = url.partition("?")
    return NatsLink(nats, servers.split(","), _file_options(query))


def _file_options(query: str) -> dict[str, Any]:
    given = broker_query(query, ("ca", "cert", "key", "creds", "nkey"))
    options: dict[str, Any] = {}
    if given.keys() & {"ca", "cert", "key"}:
        context = ssl.create_default_context(cafile=given.get("ca"))
        if "cert" in given:
            context.load_cert_chain(given["cert"], given.get("key"))
        options["tls"] = context
    if "creds" in given:
        options["user_credentials"] = given["creds"]
    if "nkey" in given:
        options["nkeys_seed"] = given["nkey"]
    return options


class Inlet:
    """What stands for the queue of a subscription: messages are taken as they are parsed.

    With queues, a task for each subscription would take from its own, and what comes by two of
    them, in one order, would be taken in another. The queue is not documented; the versions of
    nats-py that the extra allows are known to have it, and a test holds the order.
    """

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.put_nowait = take

    def qsize(self) -> int:
        return 0

    def empty(self) -> bool:
        return True

    async def join(self) -> None: ...


class NatsLink(BrokerLink):
    """One node's connection to NATS."""

    title = "nats"
    broker = "NATS"
    claims: NatsClaims

    def __init__(self, nats: Any, servers: list[str], options: dict[str, Any]) -> None:
        super().__init__(None, servers)
        self._nats = nats
        self._more_options = options
        self.claims = NatsClaims(self)
        self._no_answer = False
        # uvloop raises RuntimeError where something is written to a connection that is closed.
        self._failures = (nats.errors.Error, OSError, asyncio.TimeoutError, RuntimeError)
        #: What is to be published, each with its subject, and the bytes of that.
        self._queue: list[tuple[str, bytes]] = []
        self._queued = 0
        self._handing_over = False
        #: What the task that publishes waits for, while there is nothing to publish.
        self._idle: asyncio.Future[None] | None = None
        self._warned = float("-inf")
        self._log_limit = LogLimit(1 / 60, burst=5)

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        self._name = f"hisock {hello.app} {hello.node}"
        self.claims.app = hello.app
        await super().start(hello, receiver)

    # -- connecting

    async def _run(self, subjects: list[str]) -> None:
        """Connect; the client tries again by itself, each time."""
        client = await self._nats.connect(**self._options())
        self._client = client
        for subject in subjects:
            subscription = await client.subscribe(subject, pending_bytes_limit=0)
            subscription._pending_queue = Inlet(self._take)
        self._begin(self._publish_all())
        await self._reconnected()
        await self._measure()

    def _options(self) -> dict[str, Any]:
        return {
            "servers": self._urls,
            "name": self._name,
            "no_echo": True,
            "connect_timeout": 2,
            "reconnect_time_wait": RECONNECT_SECONDS,
            "max_reconnect_attempts": -1,
            "ping_interval": 2,
            "max_outstanding_pings": 2,
            "flusher_queue_size": 64,
            "pending_size": MOST_WAITING_BYTES,
            "drain_timeout": FAREWELL_SECONDS,
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
            "error_cb": self._error,
            "allow_reconnect": True,
            **self._more_options,
        }

    async def _reconnected(self) -> None:
        if self._up or self._closing:
            return
        with contextlib.suppress(*self._failures):
            # A ping overtakes what the client has not written yet, such as subscriptions. They are
            # written before the first answer comes, so the server has them when it answers again:
            # nothing that is sent from then on is missed.
            await self._client.flush(timeout=_ANSWER_SECONDS)
            await self._client.flush(timeout=_ANSWER_SECONDS)
            if self._client.is_connected and not self._up and not self._closing:
                self._went_up()

    async def _disconnected(self) -> None:
        self._went_down("the connection to NATS was lost")

    def _discard(self) -> None:
        self._queue, self._queued = [], 0
        # What the client holds would be delivered after the outage, and late.
        _forget_pending(self._client)

    async def _error(self, exc: Exception) -> None:
        if self._up and self._log_limit.permits(time.monotonic()):
            reason = self.reason(exc)
            logger.warning("NATS: %s", reason, extra=fields("cluster_link_error", reason=reason))
        elif not self._up:
            self._unreachable(exc)

    # -- batches

    def _take(self, message: Any) -> None:
        if message.reply:
            self._begin(message.respond(b""))  # a probe
        else:
            self._receiver.received(message.data)

    def _publish(self, subject: str, batch: bytes) -> None:
        self._queue.append((subject, batch))
        self._queued += len(batch)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _publish_all(self) -> None:
        """Hand to the client what has been gathered, whenever there is something.

        One task publishes all the time: to make one for each batch costs as much as publishing it.
        """
        while True:
            if not self._queue:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                continue
            self._handing_over = True
            queue = self._queue
            self._queue, self._queued = [], 0
            try:
                await self._hand_over(queue)
            except (*self._failures, ValueError) as exc:
                reason = self.reason(exc)
                said = fields("cluster_link_error", reason=reason)
                logger.debug("NATS did not take a batch: %s", reason, extra=said)
            self._handing_over = False

    async def _hand_over(self, queue: list[tuple[str, bytes]]) -> None:
        for subject, batch in queue:
            if not (self._up and self._client.is_connected):
                return
            await self._client.publish(subject, batch)

    def backlog(self, node: str | None) -> int:
        return self._queued + _held(self._client)

    def _stalled(self) -> bool:
        return self._no_answer

    # -- looking after it

    def probe(self, node: str) -> None:
        if self._up:
            self._begin(self._probe(node))

    async def _probe(self, node: str) -> None:
        try:
            await self._client.request(to_one(self._app, node), b"", timeout=_PROBE_SECONDS)
        except self._nats.errors.NoRespondersError:
            if self._up and not self._closing:
                self._receiver.gone(node, "nobody answers at its subject")
        except self._failures:
            pass  # silence is no proof

    async def _measure(self) -> None:
        """Measure the round trip to the server, and tell when there is room again."""
        while not self._closing:
            await asyncio.sleep(_BUSY_INTERVAL if self._was_full or self._sent else _LAG_INTERVAL)
            self._sent = False
            if self._up:
                await self._ping()
            if self._up:
                self._tell_room()

    async def _ping(self) -> None:
        began = time.monotonic()
        # The ping overtakes what the client has not written.
        waits = self._queue or self._handing_over or _pending(self._client)
        taken = self._arrived if waits else self._taken
        flush = asyncio.ensure_future(self._client.flush(timeout=_ANSWER_SECONDS))
        flush.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait((flush,), timeout=STALLED_SECONDS)
            # What is sent to a server that does not answer would be delivered late.
            self._no_answer = not flush.done()
            await asyncio.wait((flush,))
            if not (flush.cancelled() or flush.exception()):
                self._arrived = max(self._arrived, taken)
            self.lag = time.monotonic() - began
            self._warn(self.lag)
        finally:
            self._no_answer = False
            flush.cancel()

    def _warn(self, seconds: float) -> None:
        now = time.monotonic()
        if seconds < _LAG_WARNING or now - self._warned < _WARNING_INTERVAL:
            return
        self._warned = now
        logger.warning(
            "NATS took %.0f ms to answer a ping: it, this process or the network is overloaded, or "
            "NATS is holding up all publishers for one subscriber that does not read; the "
            "nats.conf of hisock's documentation prevents the latter",
            seconds * 1000,
            extra=fields("cluster_slow"),
        )

    async def _written(self) -> None:
        while self._queue or self._handing_over:  # noqa: ASYNC110 - it takes a few iterations
            await asyncio.sleep(0)
        await self._client.flush(timeout=1)

    async def _disconnect(self) -> None:
        if self._client is not None:
            await self._client.close()


def _held(client: Any) -> int:
    """Bytes that the kernel has not taken yet; not documented, so nothing where it is not."""
    size = _pending(client) if client is not None else 0
    transport = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if transport is not None:
        with contextlib.suppress(Exception):
            size += transport.transport.get_write_buffer_size()
    return int(size)


def _pending(client: Any) -> int:
    """Bytes that the client has not written yet; not documented either."""
    return int(getattr(client, "_pending_data_size", 0))


def _forget_pending(client: Any) -> None:
    """Empty what the client keeps to send it after it has reconnected."""
    pending = getattr(client, "_pending", None)
    if pending:
        pending.clear()
        client._pending_data_size = 0
