"""Names in a JetStream key-value bucket: create, update and delete with the revision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from hisock._cluster.brokers import key_of
from hisock._cluster.link import LinkDown
from hisock._runtime.patience import within

T = TypeVar("T")

#: Seconds that one operation may take.
_SECONDS = 1.0


class Connected(Protocol):
    """The link, as far as names need it."""

    @property
    def client(self) -> Any:
        """The client of nats-py, ``None`` while it is not connected."""


class NatsClaims:
    """See :class:`hisock._cluster.link.Claims`. The bucket is in memory: an old one is of no use.

    :ivar app: the application, which the bucket is named after.
    """

    def __init__(self, link: Connected) -> None:
        self.app = ""
        self._link = link
        self._bucket: Any = None

    async def claim(self, name: str, holder: str) -> str:
        return await self._do(lambda bucket: self._claim(bucket, key_of(name), holder))

    async def move(self, name: str, old: str, new: str) -> bool:
        return await self._do(lambda bucket: self._move(bucket, key_of(name), old, new))

    async def release(self, name: str, holder: str) -> None:
        await self._do(lambda bucket: self._release(bucket, key_of(name), holder))

    async def _do(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something with the bucket.

        :raises LinkDown: it cannot be reached, or does not answer in time.
        """
        from nats.errors import Error

        if self._link.client is None:
            raise LinkDown("NATS is not connected")
        try:
            return await within(_SECONDS, self._with_bucket(work))
        except (Error, asyncio.TimeoutError, OSError) as exc:
            self._bucket = None
            raise LinkDown(f"the names in NATS cannot be reached: {_reason(exc)}") from None

    async def _with_bucket(self, work: Callable[[Any], Awaitable[T]]) -> T:
        from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError

        if self._bucket is not None:
            try:
                return await work(self._bucket)
            except (NoStreamResponseError, NotFoundError):
                pass  # the broker was restarted, and its memory is empty
        context = self._link.client.jetstream(timeout=_SECONDS)
        name = f"hisock_{self.app}"
        try:
            self._bucket = await context.create_key_value(bucket=name, storage="memory", history=1)
        except BadRequestError:  # another node makes it at this moment
            self._bucket = await context.key_value(name)
        return await work(self._bucket)

    async def _claim(self, bucket: Any, key: str, holder: str) -> str:
        from nats.js.errors import KeyWrongLastSequenceError

        while True:
            try:
                await bucket.create(key, holder.encode())
                return holder
            except KeyWrongLastSequenceError:
                has, _ = await _get(bucket, key)
                if has is not None:
                    return has

    async def _move(self, bucket: Any, key: str, old: str, new: str) -> bool:
        from nats.js.errors import KeyWrongLastSequenceError

        while True:
            has, revision = await _get(bucket, key)
            if has not in (None, old, new):
                return False
            try:
                if has is None:
                    await bucket.create(key, new.encode())
                else:
                    await bucket.update(key, new.encode(), last=revision)
                return True
            except KeyWrongLastSequenceError:
                pass  # somebody was faster: look again

    async def _release(self, bucket: Any, key: str, holder: str) -> None:
        from nats.js.errors import APIError

        has, revision = await _get(bucket, key)
        if has == holder:
            try:
                await bucket.delete(key, last=revision)
            except APIError:
                pass  # it was moved meanwhile


async def _get(bucket: Any, key: str) -> tuple[str | None, int]:
    """The holder of a name and the revision; ``None`` if nobody has it."""
    from nats.js.errors import KeyNotFoundError

    try:
        entry = await bucket.get(key)
    except KeyNotFoundError:
        return None, 0
    return bytes(entry.value or b"").decode("ascii", "replace"), int(entry.revision)


def _reason(exc: BaseException) -> str:
    if type(exc).__name__ in ("NoRespondersError", "ServiceUnavailableError"):
        return "JetStream is not enabled on the server (nats-server -js)"
    return str(exc) or type(exc).__name__
