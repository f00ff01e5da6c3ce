"""The link over Redis or Valkey: channels for batches, keys for names.

Batches go out over one connection, which gives their order; another one listens. While either is
away, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hisock._cluster.broker_link import RECONNECT_SECONDS, STALLED_SECONDS, BrokerLink
from hisock._cluster.brokers import broker_query, key_of, to_all, to_one
from hisock._cluster.link import LinkDown, NodeHello, Receiver
from hisock._cluster.redis_wire import RedisWire
from hisock._runtime.patience import within

#: Seconds that connecting and answering may take.
_CONNECT_SECONDS, _ANSWER_SECONDS = 2.0, 5.0
#: Seconds that an operation on names may take.
_CLAIM_SECONDS = 1.0
#: Seconds between two measurements, while nothing is sent and while much is.
_PING_SECONDS, _BUSY_INTERVAL = 1.0, 0.25
#: Seconds that a probe waits for an answer.
_PROBE_SECONDS = 1.0
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
        import hiredis
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
    where = urlunsplit((scheme, parts.netloc, parts.path, "", ""))
    return RedisLink(redis.asyncio, hiredis, where, options)


class RedisLink(BrokerLink):
    """One node's connections to Redis: one that listens, one that publishes, and a pool.

    redis-py connects, and looks names up; what is published and heard passes it by. Redis answers
    each PUBLISH, and reading the answers would cost more than publishing. So answers
    are turned off where that is permitted, and a question now and then measures the delay.
    """

    title = "redis"
    broker = "Redis"
    claims: RedisClaims

    def __init__(
        self,
        redis: Any,
        hiredis: Any,
        url: str,
        options: dict[str, Any],
    ) -> None:
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry

        # uvloop raises RuntimeError where something is written to a connection that is closed.
        self.lost = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)
        self._refused = RedisError
        client = redis.Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            socket_keepalive=True,
            # A batch that failed half-way may have been published, and must not be sent again.
            retry=redis_retry(Retry, NoBackoff),
            **options,
        )
        super().__init__(client, [url])
        self.claims = RedisClaims(self)
        self._hiredis = hiredis
        #: Packs a command as redis-py does, which takes six times as long for it.
        self._pack = hiredis.pack_command
        #: What batches go out by, while it is connected.
        self._outlet: RedisWire | None = None
        #: What is sent to be answered, and since when an answer is awaited.
        self._question = b""
        self._asked = 0.0
        self._answered = asyncio.Event()
        self._asking = asyncio.Lock()

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
        ears, outlet = self._new_connection(), self._new_connection()
        wires: list[RedisWire] = []
        measuring = None
        try:
            await within(_ANSWER_SECONDS, self._connect(ears, outlet, channels, wires))
            self._outlet, self._asked = wires[0], 0.0
            measuring = asyncio.ensure_future(self._measure(wires[1]))
            self._went_up()
            await asyncio.gather(*(wire.lost for wire in wires), measuring)
        finally:
            self._outlet = None
            if measuring is not None:
                measuring.cancel()
            for wire in wires:
                wire.end()
            for connection in (ears, outlet, self._client.connection_pool):
                with contextlib.suppress(*self.lost):
                    await connection.disconnect()

    def _new_connection(self) -> Any:
        connection = self._client.connection_pool.make_connection()
        # It would be a task for each write, and the end of a connection that is only quiet.
        connection.socket_timeout = None
        return connection

    async def _connect(
        self, ears: Any, outlet: Any, channels: list[str], wires: list[RedisWire]
    ) -> None:
        await self._prepare(outlet)
        wires.append(RedisWire(outlet, self._hiredis, self._answer))
        await ears.connect()
        wires.append(RedisWire(ears, self._hiredis, self._hear))
        await wires[1].ask(self._pack(("SUBSCRIBE", *channels)), len(channels))

    async def _prepare(self, outlet: Any) -> None:
        """Connect what is to publish, and have its answers turned off where that is permitted."""
        await outlet.connect()
        # A batch without content, which nobody hears: it shows whether this user may publish.
        await outlet.send_command("PUBLISH", to_all(self._app), self._id)
        await outlet.read_response()
        try:
            await outlet.send_command("CLIENT", "REPLY", "ON")
            await outlet.read_response()
        except self._refused:
            if not outlet.is_connected:
                raise
            self._question = self._pack(("PING",))  # it answers everything
        else:
            on, off = ("CLIENT", "REPLY", "ON"), ("CLIENT", "REPLY", "OFF")
            await outlet.send_command(*off)
            self._question = self._pack(on) + self._pack(off)

    def _discard(self) -> None:
        pass  # it goes with its connection

    # -- batches

    def _hear(self, message: Any) -> None:
        kind, _, data = message
        if kind == b"message" and data[:_ID_BYTES] != self._id and len(data) > _ID_BYTES:
            self._receiver.received(data[_ID_BYTES:])  # not its own, and no probe

    def _publish(self, subject: str, batch: bytes) -> None:
        self._write(self._pack(("PUBLISH", subject, self._id + batch)))

    def _write(self, command: bytes) -> None:
        if self._outlet is not None:
            self._outlet.write(command)

    def backlog(self, node: str | None) -> int:
        return 0 if self._outlet is None else self._outlet.backlog()

    # -- looking after it

    def _answer(self, answer: Any) -> None:
        if type(answer) is bytes:  # those to PUBLISH are numbers
            self._answered.set()

    async def _measure(self, ears: RedisWire) -> None:
        """Measure how long Redis takes to answer, and tell when there is room again."""
        while True:
            seconds = _BUSY_INTERVAL if self._was_full or self._sent else _PING_SECONDS
            await asyncio.sleep(seconds)
            self._sent = False
            ears.await_rest(seconds)
            await within(_ANSWER_SECONDS, self._ask())
            self._tell_room()

    async def _ask(self) -> None:
        """Wait until Redis has read what was queued before."""
        async with self._asking:
            self._answered.clear()
            taken = self._taken
            self._asked = began = time.monotonic()
            self._write(self._question)
            await self._answered.wait()
            self._asked = 0.0
            self._arrived = max(self._arrived, taken)
            self.lag = time.monotonic() - began

    def _stalled(self) -> bool:
        return self._asked > 0 and time.monotonic() - self._asked > STALLED_SECONDS

    def probe(self, node: str) -> None:
        if self._up:
            self._begin(self._probe(node))

    async def _probe(self, node: str) -> None:
        with contextlib.suppress(*self.lost):  # silence is no proof
            work = self._client.publish(to_one(self._app, node), self._id)
            if not await within(_PROBE_SECONDS, work) and self._up and not self._closing:
                self._receiver.gone(node, "nobody listens to its channel")

    async def _written(self) -> None:
        await self._ask()

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
            return await within(_CLAIM_SECONDS, client.execute_command(*command))
        except self._link.lost as exc:
            reason = self._link.reason(exc)
            raise LinkDown(f"the names in Redis cannot be reached: {reason}") from None
