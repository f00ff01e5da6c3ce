"""The link over Redis or Valkey: channels for batches, keys for names.

Batches go out in pipelines of one connection, which gives their order; another one listens. While
either is away, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Collection
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hisock._cluster.brokers import (
    PUBLISHER_ID,
    broker_query,
    key_of,
    to_all,
    to_one,
    without_secrets,
)
from hisock._cluster.link import (
    MOST_BATCH_BYTES,
    MOST_WAITING_BYTES,
    LinkDown,
    NodeHello,
    Receiver,
)
from hisock._core.log_fields import fields

logger = logging.getLogger("hisock.server")

#: Seconds between two attempts to reconnect.
_RECONNECT_SECONDS = 0.1
#: Seconds that connecting and answering may take.
_CONNECT_SECONDS, _ANSWER_SECONDS = 2.0, 5.0
#: Seconds that an operation on names may take.
_CLAIM_SECONDS = 1.0
#: Seconds between two pings while nothing is sent; what is sent is a measurement itself.
_PING_SECONDS = 1.0
#: Seconds after which nothing more is given to a broker that does not answer.
_STALLED_SECONDS = 1.0
_FAREWELL_SECONDS = 0.5
#: Bytes of the id of a node, which each batch in a channel of all begins with.
_ID_BYTES = 16

#: ``KEYS[1]`` is the name, ``ARGV`` the holder that may have it and the one that is to.
_MOVE = """
local has = redis.call('GET', KEYS[1])
if has and has ~= ARGV[1] and has ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def make_link(url: str) -> RedisLink:
    """The link of ``redis://host:6379/0``, ``rediss://``, ``valkey://`` or ``valkeys://``.

    A query names files for TLS: ``ca``, ``cert`` and ``key``.

    :raises ImportError: redis is not installed.
    :raises ValueError: the query asks for something else.
    """
    try:
        import redis.asyncio
    except ImportError:  # pragma: no cover - the extra is installed where it is measured
        raise ImportError(
            "redis: and valkey: need redis with hiredis; pip install 'hisock[redis]'"
        ) from None
    parts = urlsplit(url)
    scheme = "rediss" if parts.scheme.lower() in ("rediss", "valkeys") else "redis"
    given = broker_query(parts.query, ("ca", "cert", "key"))
    if given and scheme == "redis":
        raise ValueError(f"{', '.join(given)} are for TLS: rediss:// or valkeys://")
    files = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}
    options = {files[name]: value for name, value in given.items()}
    return RedisLink(redis.asyncio, urlunsplit((scheme, parts.netloc, parts.path, "", "")), options)


class RedisLink:
    """One node's connections to Redis; see :class:`hisock._cluster.link.NodeLink`."""

    broadcasts = True
    probes = True
    most_bytes = MOST_BATCH_BYTES
    limit = MOST_WAITING_BYTES
    title = "redis"

    def __init__(self, redis: Any, url: str, options: dict[str, Any]) -> None:
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry

        self.url = url
        self.lost = (RedisError, OSError, asyncio.TimeoutError)
        self._client: Any = redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            socket_keepalive=True,
            # A batch that failed half-way may have been published, and must not be sent again.
            retry=redis_retry(Retry, NoBackoff),
            **options,
        )
        self.claims = RedisClaims(self)
        self.lag = 0.0
        self._up = False
        self._closing = False
        self._queue: list[tuple[str, bytes]] = []
        self._queued = 0
        self._under_way = 0
        self._began = 0.0
        self._was_full = False
        self._wake = asyncio.Event()
        #: Set while nothing waits to be published.
        self._written = asyncio.Event()
        self._written.set()
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def client(self) -> Any:
        """The client of redis-py; ``None`` while it is not connected."""
        return self._client if self._up else None

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        self._receiver = receiver
        self._app = hello.app
        self._id = hello.node.encode().ljust(_ID_BYTES)
        self.claims.prefix = f"hisock.{hello.app}.name."
        self._channels = [to_one(hello.app, hello.node)]
        if not hello.node.startswith(PUBLISHER_ID):
            self._channels.append(to_all(hello.app))
        self._begin(self._run())

    def _begin(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None and not self._closing:
            reason = self._reason(exc)
            said = fields("cluster_link_failed", reason=reason)
            logger.error("the link over Redis failed: %s", reason, extra=said)

    def _reason(self, exc: BaseException) -> str:
        return without_secrets(str(exc) or type(exc).__name__, [self.url])

    # -- connecting

    async def _run(self) -> None:
        """Be connected, again after each loss."""
        logged = False
        while True:
            try:
                await self._serve()
            except self.lost as exc:
                reason = self._reason(exc)
                if self._up:
                    self._went_down(reason)
                elif not logged:
                    said = fields("cluster_unreachable", reason=reason)
                    logger.warning("Redis cannot be reached, trying again: %s", reason, extra=said)
                    logged = True
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _serve(self) -> None:
        """Listen and publish until one of the two connections is lost, which raises."""
        ears = self._client.pubsub(ignore_subscribe_messages=False)
        try:
            await ears.subscribe(*self._channels)
            for _ in self._channels:
                await ears.get_message(timeout=_CONNECT_SECONDS)
            await self._client.ping()
            listening = asyncio.ensure_future(self._listen(ears))
            publishing = asyncio.ensure_future(self._publish())
            try:
                self._up = True
                self._receiver.up()
                await asyncio.gather(listening, publishing)
            finally:
                listening.cancel()
                publishing.cancel()
        finally:
            with contextlib.suppress(*self.lost):
                await ears.aclose()
            with contextlib.suppress(*self.lost):
                await self._client.connection_pool.disconnect()

    def _went_down(self, reason: str) -> None:
        self._up = False
        self._queue.clear()
        self._queued = self._under_way = 0
        self._written.set()
        if not self._closing:
            self._receiver.down(f"the connection to Redis was lost: {reason}")

    # -- batches

    async def _listen(self, ears: Any) -> None:
        while True:
            message = await ears.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None or message["type"] != "message":
                continue
            data = message["data"]
            if data[:_ID_BYTES] != self._id and len(data) > _ID_BYTES:  # not its own, no probe
                self._receiver.received(data[_ID_BYTES:])

    def send(self, node: str, batch: bytes) -> bool:
        return self._give(to_one(self._app, node), batch)

    def send_all(self, batch: bytes) -> bool:
        return self._give(to_all(self._app), batch)

    def _give(self, channel: str, batch: bytes) -> bool:
        if not self._up or self._closing:
            return False
        stalled = self._under_way and time.monotonic() - self._began > _STALLED_SECONDS
        if stalled or self._backlog() + len(batch) > self.limit:
            self._was_full = True
            return False
        self._queue.append((channel, self._id + batch))
        self._queued += len(batch)
        self._wake.set()
        self._written.clear()
        return True

    async def _publish(self) -> None:
        """Publish what has been gathered, in one pipeline after the other."""
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _PING_SECONDS)
            self._wake.clear()
            queue, self._queue = self._queue, []
            self._under_way, self._queued = self._queued, 0
            self._began = time.monotonic()
            async with self._client.pipeline(transaction=False) as pipe:
                for channel, data in queue:
                    pipe.publish(channel, data)
                if not queue:
                    pipe.ping()
                answers = await pipe.execute()
            self._under_way = 0
            self.lag = time.monotonic() - self._began
            self._note_absent(queue, answers)
            if not self._queue:
                self._written.set()
            if self._was_full and self._queued < self.limit // 4:
                self._was_full = False
                self._receiver.writable(None)

    def _note_absent(self, queue: list[tuple[str, bytes]], answers: list[Any]) -> None:
        """Nodes whose channels nobody listens to have ended."""
        start = to_one(self._app, "")
        for (channel, _), count in zip(queue, answers, strict=False):  # a ping has one as well
            if count == 0 and channel.startswith(start):
                self._receiver.gone(channel[len(start) :], "nobody listens to its channel")

    def backlog(self, node: str | None) -> int:
        return self._backlog()

    def _backlog(self) -> int:
        return self._queued + self._under_way

    def probe(self, node: str) -> None:
        self._give(to_one(self._app, node), b"")

    async def close(self, goodbye: Collection[bytes] = ()) -> None:
        if self._closing:
            return
        for batch in goodbye:
            self.send_all(batch)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._written.wait(), _FAREWELL_SECONDS)
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._up = False
        with contextlib.suppress(*self.lost):
            await self._client.aclose()


def redis_retry(retry: Any, backoff: Any) -> Any:
    """The policy never to send a command again."""
    return retry(backoff(), 0)


class RedisClaims:
    """Names as keys: SET NX takes one, scripts compare before they change it.

    See :class:`hisock._cluster.link.Claims`.

    :ivar prefix: what the keys begin with.
    """

    def __init__(self, link: RedisLink) -> None:
        self.prefix = ""
        self._link = link

    async def claim(self, name: str, holder: str) -> str:
        key = self.prefix + key_of(name)
        while True:
            if await self._do("SET", key, holder, "NX"):
                return holder
            has = await self._do("GET", key)
            if has is not None:
                return bytes(has).decode("ascii", "replace")

    async def move(self, name: str, old: str, new: str) -> bool:
        return bool(await self._do("EVAL", _MOVE, 1, self.prefix + key_of(name), old, new))

    async def release(self, name: str, holder: str) -> None:
        await self._do("EVAL", _RELEASE, 1, self.prefix + key_of(name), holder)

    async def _do(self, *command: Any) -> Any:
        client = self._link.client
        if client is None:
            raise LinkDown("Redis is not connected")
        try:
            return await asyncio.wait_for(client.execute_command(*command), _CLAIM_SECONDS)
        except self._link.lost as exc:
            reason = without_secrets(str(exc) or type(exc).__name__, [self._link.url])
            raise LinkDown(f"the names in Redis cannot be reached: {reason}") from None
