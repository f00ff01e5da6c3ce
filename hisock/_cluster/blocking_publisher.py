"""A publisher for programs without an event loop."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar, cast

from hisock._cluster.config import Cluster
from hisock._cluster.publisher import AsyncPublisher
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.public import publish
from hisock._runtime.background import LoopInThread
from hisock.framing import DEFAULT_HEADER_LEN

P = TypeVar("P", bound="Publisher")


class Publisher:
    """Sends to the clients of a :class:`Cluster`, from a program that is no server.

    ``with`` closes it. Its methods are those of :class:`AsyncPublisher`, and may be called from any
    thread. It connects when it is made.

    :raises ServerNotRunning: the cluster could not be reached within the time-out.
    """

    def __init__(
        self,
        url: Cluster | str,
        *,
        app: str = "default",
        key: bytes | str | None = None,
        header_len: int = DEFAULT_HEADER_LEN,
        codec: str = "json",
        timeout: float = 5.0,
    ) -> None:
        self._thread = LoopInThread("hisock-publisher")
        try:
            self._inner = self._thread.run(
                _made(url, app=app, key=key, header_len=header_len, codec=codec, timeout=timeout)
            )
        except BaseException:
            self._thread.close()
            raise

    def __repr__(self) -> str:
        return repr(self._inner).replace("<Async", "<", 1)

    def close(self) -> None:
        """Write what was sent, for half a second at most, and close the connection."""
        if not self._thread.closed:
            self._thread.run(self._inner.close())
            self._thread.close()

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, method: str, *args: Any, **options: Any) -> Any:
        async def call() -> Any:
            done = getattr(self._inner, method)(*args, **options)
            return await done if isinstance(done, Coroutine) else done

        return self._thread.run(call())

    def send_all_clients(self, command: str, content: Any = None, **options: Any) -> None:
        """See :meth:`AsyncPublisher.send_all_clients`."""
        self._do("send_all_clients", command, content, **options)

    def send_group(self, group: str, command: str, content: Any = None, **options: Any) -> None:
        """See :meth:`AsyncPublisher.send_group`."""
        self._do("send_group", group, command, content, **options)

    def send_room(self, room: str, command: str, content: Any = None, **options: Any) -> None:
        """See :meth:`AsyncPublisher.send_room`."""
        self._do("send_room", room, command, content, **options)

    def send_many(
        self, clients: Iterable[ClientRef], command: str, content: Any = None, **options: Any
    ) -> None:
        """See :meth:`AsyncPublisher.send_many`."""
        self._do("send_many", list(clients), command, content, **options)

    def send_client(
        self, client: ClientRef, command: str, content: Any = None, **options: Any
    ) -> None:
        """See :meth:`AsyncPublisher.send_client`."""
        self._do("send_client", client, command, content, **options)

    def disconnect_client(
        self, client: ClientRef, *, force: bool = False, call_func: bool = False
    ) -> None:
        """See :meth:`AsyncPublisher.disconnect_client`."""
        self._do("disconnect_client", client, force=force, call_func=call_func)

    def get_client(self, client: ClientRef) -> ClientInfo:
        """See :meth:`AsyncPublisher.get_client`."""
        return cast(ClientInfo, self._do("get_client", client))

    def get_group(self, group: str) -> list[ClientInfo]:
        """See :meth:`AsyncPublisher.get_group`."""
        return cast("list[ClientInfo]", self._do("get_group", group))

    def get_room(self, room: str) -> list[ClientInfo]:
        """See :meth:`AsyncPublisher.get_room`."""
        return cast("list[ClientInfo]", self._do("get_room", room))

    def count(self) -> int:
        """See :meth:`AsyncPublisher.count`."""
        return int(self._do("count"))


async def _made(url: Cluster | str, **options: Any) -> AsyncPublisher:
    made = AsyncPublisher(url, **options)
    await made.connect()
    return made


publish("hisock", globals(), ("Publisher",))
