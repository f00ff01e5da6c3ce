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
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from hisock._cluster.brokers import (
    PUBLISHER_ID,
    broker_query,
    to_all,
    to_one,
    without_secrets,
)
from hisock._cluster.link import (
    MOST_BATCH_BYTES,
    MOST_WAITING_BYTES,
    NodeHello,
    Receiver,
)
from hisock._cluster.nats_claims import NatsClaims
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit

logger = logging.getLogger("hisock.server")

#: Seconds between two attempts to reconnect.
_RECONNECT_SECONDS = 0.1
#: Seconds between two measurements of the round trip, while nothing is sent and while much is.
_LAG_INTERVAL, _BUSY_INTERVAL = 1.0, 0.1
#: Seconds that the round trip should not take, and after which nothing more is sent.
_LAG_WARNING, _STALLED_SECONDS = 0.25, 1.0
#: Seconds between two warnings about it.
_WARNING_INTERVAL = 60.0
#: Seconds that the server may take to answer a ping. The client gives the connection up before, by
#: its own pings, since it would fail at an answer to a ping that nobody waits for any more.
_ANSWER_SECONDS = 10
#: Seconds that a probe waits for an answer, and :meth:`NatsLink.close` for what was sent.
_PROBE_SECONDS = 1.0
_FAREWELL_SECONDS = 0.5


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


class NatsLink:
    """One node's connection to NATS; see :class:`hisock._cluster.link.NodeLink`."""

    broadcasts = True
    probes = True
    most_bytes = MOST_BATCH_BYTES
    limit = MOST_WAITING_BYTES
    title = "nats"

    def __init__(self, nats: Any, servers: list[str], options: dict[str, Any]) -> None:
        self._nats = nats
        self._more_options = options
        self._servers = servers
        self._client: Any = None
        self.claims = NatsClaims(self)
        self.lag = 0.0
        self._up = False
        self._closing = False
        self._queue: list[tuple[str, bytes]] = []
        self._queued = 0
        self._was_full = False
        #: Whether the server has not answered for long.
        self._stalled = False
        #: Whether something was sent since the last measurement.
        self._sent = False
        self._publishing: asyncio.Task[None] | None = None
        self._warned = float("-inf")
        self._told_unreachable = False
        self._log_limit = LogLimit(1 / 60, burst=5)
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def client(self) -> Any:
        """The client of nats-py; ``None`` while it is not connected."""
        return self._client if self._up else None

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        self._receiver = receiver
        self._app = hello.app
        self._subjects = [to_one(hello.app, hello.node)]
        if not hello.node.startswith(PUBLISHER_ID):
            self._subjects.append(to_all(hello.app))
        self._name = f"hisock {hello.app} {hello.node}"
        self.claims.app = hello.app
        self._begin(self._connect())

    def _begin(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None and not self._closing:
            reason = self._reason(exc)
            said = fields("cluster_link_failed", reason=reason)
            logger.error("the link over NATS failed: %s", reason, extra=said)

    # -- connecting

    async def _connect(self) -> None:
        """Connect, however long that takes; the client tries again by itself, each time."""
        client = await self._nats.connect(**self._options())
        self._client = client
        for subject in self._subjects:
            subscription = await client.subscribe(subject, pending_bytes_limit=0)
            subscription._pending_queue = Inlet(self._take)
        await self._reconnected()
        self._begin(self._measure())

    def _options(self) -> dict[str, Any]:
        return {
            "servers": self._servers,
            "name": self._name,
            "no_echo": True,
            "connect_timeout": 2,
            "reconnect_time_wait": _RECONNECT_SECONDS,
            "max_reconnect_attempts": -1,
            "ping_interval": 2,
            "max_outstanding_pings": 2,
            "flusher_queue_size": 64,
            "pending_size": MOST_WAITING_BYTES,
            "drain_timeout": _FAREWELL_SECONDS,
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
            "error_cb": self._error,
            "allow_reconnect": True,
            **self._more_options,
        }

    async def _reconnected(self) -> None:
        if self._up or self._closing:
            return
        with contextlib.suppress(self._nats.errors.Error, asyncio.TimeoutError, OSError):
            # A ping overtakes what the client has not written yet, such as subscriptions. They are
            # written before the first answer comes, so the server has them when it answers again:
            # nothing that is sent from then on is missed.
            await self._client.flush(timeout=_ANSWER_SECONDS)
            await self._client.flush(timeout=_ANSWER_SECONDS)
            if self._client.is_connected and not self._up and not self._closing:
                self._up, self._told_unreachable = True, False
                self._receiver.up()

    async def _disconnected(self) -> None:
        self._went_down("the connection to NATS was lost")

    def _went_down(self, reason: str) -> None:
        if not self._up:
            return
        self._up = False
        self._queue.clear()
        self._queued = 0
        # What it holds would be delivered after the outage, and late.
        _forget_pending(self._client)
        if not self._closing:
            self._receiver.down(reason)

    async def _error(self, exc: Exception) -> None:
        if self._up and self._log_limit.permits(time.monotonic()):
            reason = self._reason(exc)
            logger.warning("NATS: %s", reason, extra=fields("cluster_link_error", reason=reason))
        elif not self._up and not self._told_unreachable:
            self._told_unreachable = True
            reason = self._reason(exc)
            said = fields("cluster_unreachable", reason=reason)
            logger.warning("NATS cannot be reached, trying again: %s", reason, extra=said)

    def _reason(self, exc: BaseException) -> str:
        return without_secrets(str(exc) or type(exc).__name__, self._servers)

    # -- batches

    def _take(self, message: Any) -> None:
        if message.reply:
            self._begin(message.respond(b""))  # a probe
        else:
            self._receiver.received(message.data)

    def send(self, node: str, batch: bytes) -> bool:
        return self._give(to_one(self._app, node), batch)

    def send_all(self, batch: bytes) -> bool:
        return self._give(to_all(self._app), batch)

    def _give(self, subject: str, batch: bytes) -> bool:
        if not self._up or self._closing:
            return False
        self._sent = True
        if self._stalled or self._backlog() + len(batch) > self.limit:
            self._was_full = True
            return False
        self._queue.append((subject, batch))
        self._queued += len(batch)
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.ensure_future(self._publish())
        return True

    async def _publish(self) -> None:
        """Hand to the client what has been gathered, until nothing is left."""
        client = self._client
        while self._queue and self._up:
            queue, self._queue = self._queue, []
            self._queued = 0
            try:
                for subject, batch in queue:
                    if not (self._up and client.is_connected):
                        return
                    await client.publish(subject, batch)
            except (self._nats.errors.Error, OSError, ValueError) as exc:
                reason = self._reason(exc)
                said = fields("cluster_link_error", reason=reason)
                logger.debug("NATS did not take a batch: %s", reason, extra=said)
                return

    def backlog(self, node: str | None) -> int:
        return self._backlog()

    def _backlog(self) -> int:
        return self._queued + _held(self._client)

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
        except (self._nats.errors.Error, asyncio.TimeoutError, OSError):
            pass  # silence is no proof

    async def _measure(self) -> None:
        """Measure the round trip to the server, and tell when there is room again."""
        while not self._closing:
            await asyncio.sleep(_BUSY_INTERVAL if self._was_full or self._sent else _LAG_INTERVAL)
            self._sent = False
            if self._up:
                await self._ping()
            if self._up and self._was_full and self._backlog() < self.limit // 4:
                self._was_full = False
                self._receiver.writable(None)

    async def _ping(self) -> None:
        began = time.monotonic()
        flush = asyncio.ensure_future(self._client.flush(timeout=_ANSWER_SECONDS))
        flush.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait((flush,), timeout=_STALLED_SECONDS)
            # What is sent to a server that does not answer would be delivered late.
            self._stalled = not flush.done()
            await asyncio.wait((flush,))
            self.lag = time.monotonic() - began
            self._warn(self.lag)
        finally:
            self._stalled = False
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

    async def close(self, goodbye: Collection[bytes] = ()) -> None:
        if self._closing:
            return
        for batch in goodbye:
            self.send_all(batch)
        if self._up:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._write_all(), _FAREWELL_SECONDS)
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        if self._client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client.close(), _FAREWELL_SECONDS)
        self._up = False

    async def _write_all(self) -> None:
        if self._publishing is not None:
            await self._publishing
        await self._client.flush(timeout=1)


def _held(client: Any) -> int:
    """Bytes that the client has not written yet; not documented, so nothing where it is not."""
    size = getattr(client, "_pending_data_size", 0) if client is not None else 0
    transport = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if transport is not None:
        with contextlib.suppress(Exception):
            size += transport.transport.get_write_buffer_size()
    return int(size)


def _forget_pending(client: Any) -> None:
    """Empty what the client keeps to send it after it has reconnected."""
    pending = getattr(client, "_pending", None)
    if pending:
        pending.clear()
        client._pending_data_size = 0
