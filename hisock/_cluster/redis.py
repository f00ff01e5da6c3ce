"""The link over Redis or Valkey: channels for batches, keys for names.

Batches go out in pipelines of one connection, which gives their order; another one listens. While
either is away, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hisock._cluster.broker_link import RECONNECT_SECONDS, STALLED_SECONDS, BrokerLink
from hisock._cluster.brokers import broker_query, key_of, to_one
from hisock._cluster.link import LinkDown, NodeHello, Receiver

#: Seconds that connecting and answering may take.
_CONNECT_SECONDS, _ANSWER_SECONDS = 2.0, 5.0
#: Seconds that an operation on names may take.
_CLAIM_SECONDS = 1.0
#: Seconds between two pings while nothing is sent; what is sent is a measurement itself.
_PING_SECONDS = 1.0
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


class RedisLink(BrokerLink):
    """One node's connections to Redis."""

    title = "redis"
    broker = "Redis"
    claims: RedisClaims

    def __init__(self, redis: Any, url: str, options: dict[str, Any]) -> None:
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry

        self.lost = (RedisError, OSError, asyncio.TimeoutError)
        client = redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            socket_keepalive=True,
            # A batch that failed half-way may have been published, and must not be sent again.
            retry=redis_retry(Retry, NoBackoff),
            **options,
        )
        super().__init__(client, [url])
        self.claims = RedisClaims(self)
        #: Bytes in the pipeline that has not been answered, and when it was begun.
        self._in_pipeline = 0
        self._began = 0.0
        self._wake = asyncio.Event()
        #: Set while nothing waits to be published.
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        self._id = hello.node.encode().ljust(_ID_BYTES)
        self.claims.prefix = f"hisock.{hello.app}.name."
        await super().start(hello, receiver)

    # -- connecting

    async def _run(self, subjects: list[str]) -> None:
        """Be connected, again after each loss."""
        while True:
            try:
                await self._serve(subjects)
            except self.lost as exc:
                if self._up:
                    self._went_down(f"the connection to Redis was lost: {self.reason(exc)}")
                else:
                    self._unreachable(exc)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _serve(self, channels: list[str]) -> None:
        """Listen and publish until one of the two connections is lost, which raises."""
        ears = self._client.pubsub(ignore_subscribe_messages=False)
        try:
            await ears.subscribe(*channels)
            for _ in channels:
                await ears.get_message(timeout=_CONNECT_SECONDS)
            await self._client.ping()
            listening = asyncio.ensure_future(self._listen(ears))
            publishing = asyncio.ensure_future(self._publish())
            try:
                self._went_up()
                await asyncio.gather(listening, publishing)
            finally:
                listening.cancel()
                publishing.cancel()
        finally:
            with contextlib.suppress(*self.lost):
                await ears.aclose()
            with contextlib.suppress(*self.lost):
                await self._client.connection_pool.disconnect()

    def _discard(self) -> None:
        super()._discard()
        self._in_pipeline = 0
        self._idle.set()

    # -- batches

    async def _listen(self, ears: Any) -> None:
        while True:
            message = await ears.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None or message["type"] != "message":
                continue
            data = message["data"]
            if data[:_ID_BYTES] != self._id and len(data) > _ID_BYTES:  # not its own, no probe
                self._receiver.received(data[_ID_BYTES:])

    def _publish_soon(self) -> None:
        self._wake.set()
        self._idle.clear()

    async def _publish(self) -> None:
        """Publish what has been gathered, in one pipeline after the other."""
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _PING_SECONDS)
            self._wake.clear()
            self._in_pipeline = self._queued
            queue = self._take_queue()
            self._began = time.monotonic()
            async with self._client.pipeline(transaction=False) as pipe:
                for channel, batch in queue:
                    pipe.publish(channel, self._id + batch)
                if not queue:
                    pipe.ping()
                answers = await pipe.execute()
            self._in_pipeline = 0
            self.lag = time.monotonic() - self._began
            self._note_absent(queue, answers)
            if not self._queue:
                self._idle.set()
            self._tell_room()

    def _note_absent(self, queue: list[tuple[str, bytes]], answers: list[Any]) -> None:
        """Nodes whose channels nobody listens to have ended."""
        start = to_one(self._app, "")
        for (channel, _), count in zip(queue, answers, strict=False):  # a ping has one as well
            if count == 0 and channel.startswith(start):
                self._receiver.gone(channel[len(start) :], "nobody listens to its channel")

    def _under_way(self) -> int:
        return self._in_pipeline

    def _stalled(self) -> bool:
        return self._in_pipeline > 0 and time.monotonic() - self._began > STALLED_SECONDS

    def probe(self, node: str) -> None:
        self._give(to_one(self._app, node), b"")

    async def _written(self) -> None:
        await self._idle.wait()

    async def _disconnect(self) -> None:
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
            reason = self._link.reason(exc)
            raise LinkDown(f"the names in Redis cannot be reached: {reason}") from None
