"""A publisher for programs without an event loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

from hisock._cluster.config import Cluster
from hisock._cluster.publisher import AsyncPublisher
from hisock._core.client_info import ClientRef
from hisock._core.public import publish
from hisock._runtime.background import LoopInThread
from hisock.framing import DEFAULT_HEADER_LEN

P = ParamSpec("P")
T = TypeVar("T")
Self = TypeVar("Self", bound="Publisher")


def _asking(
    method: Callable[Concatenate[AsyncPublisher, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Publisher, P], T]:
    """The same method of a blocking publisher: it waits for the result."""

    @functools.wraps(method)
    def ask(self: Publisher, /, *args: P.args, **options: P.kwargs) -> T:
        return self._thread.run(method(self._inner, *args, **options))

    return ask


def _sending(
    method: Callable[Concatenate[AsyncPublisher, P], None],
) -> Callable[Concatenate[Publisher, P], None]:
    """The same for a method that does not wait, which is called on the publisher's loop."""

    async def send(inner: AsyncPublisher, /, *args: P.args, **options: P.kwargs) -> None:
        method(inner, *args, **options)

    return _asking(functools.wraps(method)(send))


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

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    _send_list = _sending(AsyncPublisher.send_many)

    def send_many(
        self,
        clients: Iterable[ClientRef],
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        """See :meth:`AsyncPublisher.send_many`."""
        # An iterator may run code of the caller, which belongs on the caller's thread.
        self._send_list(list(clients), command, content, volatile=volatile, latest=latest)

    send_all_clients = _sending(AsyncPublisher.send_all_clients)
    send_group = _sending(AsyncPublisher.send_group)
    send_room = _sending(AsyncPublisher.send_room)
    send_client = _sending(AsyncPublisher.send_client)
    disconnect_client = _sending(AsyncPublisher.disconnect_client)
    get_client = _asking(AsyncPublisher.get_client)
    get_group = _asking(AsyncPublisher.get_group)
    get_room = _asking(AsyncPublisher.get_room)
    count = _asking(AsyncPublisher.count)


async def _made(url: Cluster | str, **options: Any) -> AsyncPublisher:
    made = AsyncPublisher(url, **options)
    await made.connect()
    return made


publish("hisock", globals(), ("Publisher",))
