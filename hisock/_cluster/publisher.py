"""Publishers: programs that send to the clients of a cluster and are no servers."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from hisock._cluster.batch import PUBLISHER, Head, Sealer
from hisock._cluster.brokers import PUBLISHER_ID
from hisock._cluster.config import Cluster, as_cluster
from hisock._cluster.delivery import Outgoing
from hisock._cluster.incoming import Incoming
from hisock._cluster.link import NodeHello
from hisock._cluster.links import make_link
from hisock._cluster.records import Answer, Named, Question, entry_of
from hisock._cluster.roster import Remote, RemoteInfo
from hisock._core.addresses import format_addr
from hisock._core.checks import require_seconds
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.codec import find_codec
from hisock._core.public import publish
from hisock._runtime.patience import within
from hisock.exceptions import ClientNotFound, GroupNotFound, ServerNotRunning
from hisock.framing import DEFAULT_HEADER_LEN

T = TypeVar("T", bound="AsyncPublisher")

#: Seconds in which the nodes of a machine are connected to, once it is known which there are.
_MEETING_SECONDS = 0.5


class _Found(NamedTuple):
    """A row of an answer, as far as :class:`RemoteInfo` needs it."""

    addr: tuple[str, int]
    name: str | None
    group: str | None
    node: str
    number: int = 0


class Outlet:
    """A publisher's end of a link; a :class:`hisock._cluster.link.Receiver`.

    :param codec: the name of the codec of the cluster's servers.
    """

    def __init__(self, cluster: Cluster, header_len: int, codec: str, timeout: float) -> None:
        self._cluster = cluster
        self._header_len = header_len
        self._codec = codec
        self._timeout = timeout
        self._id = PUBLISHER_ID + secrets.token_hex(4)
        self._sealer = Sealer(cluster.app, cluster.key)
        self._incoming = Incoming(self._sealer, self._id, Counter())
        self._link = make_link(cluster.url)
        self._numbers = itertools.count(1)
        self._nodes: set[str] = set()
        self._questions: dict[int, asyncio.Future[Answer]] = {}
        self._is_up = False
        self._changed: asyncio.Event

    async def connect(self) -> None:
        """Connect.

        :raises ServerNotRunning: that was not possible within the time-out.
        """
        self._changed = asyncio.Event()
        hello = NodeHello(
            node=self._id,
            app=self._cluster.app,
            header_len=self._header_len,
            codec=self._codec,
        )
        await self._link.start(hello, self)
        try:
            await within(self._timeout, self._reachable())
        except asyncio.TimeoutError:
            await self._link.close()
            raise self._unreachable() from None

    async def _reachable(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_up or not (self._link.broadcasts or self._nodes):
            self._changed.clear()
            await self._changed.wait()
        if not self._link.broadcasts:
            # Each node says by itself that it is there.
            known, patience = len(self._nodes), loop.time() + _MEETING_SECONDS
            while loop.time() < patience:
                await asyncio.sleep(0.02)
                if len(self._nodes) == known:
                    break
                known = len(self._nodes)

    def _unreachable(self) -> ServerNotRunning:
        return ServerNotRunning(f"no cluster can be reached at {self._cluster.shown}")

    async def close(self) -> None:
        await self._link.close()

    def up(self) -> None:
        self._is_up = True
        self._changed.set()

    def down(self, reason: str) -> None:
        self._is_up = False

    def appeared(self, node: str) -> None:
        self._nodes.add(node)
        self._changed.set()

    def gone(self, node: str, reason: str) -> None:
        self._nodes.discard(node)

    def writable(self, node: str | None) -> None:
        """What was not taken has been refused already."""

    def received(self, batch: bytes) -> None:
        opened = self._incoming.open(batch, time.monotonic())
        for record in opened[1] if opened is not None else ():
            if isinstance(record, Answer):
                waiting = self._questions.get(record.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(record)

    def put(self, entry: bytes) -> None:
        head = Head(self._id, 1, "", next(self._numbers), 0, time.time_ns() // 1_000_000, PUBLISHER)
        batch = self._sealer.seal(head, [entry])
        if len(batch) > self._link.most_bytes:
            raise ValueError(
                f"a message of {len(batch)} bytes is too large for a publisher, which can send "
                f"{self._link.most_bytes}"
            )
        if self._link.broadcasts:
            sent = self._link.send_all(batch)
        else:
            taken = [self._link.send(node, batch) for node in tuple(self._nodes)]
            sent = any(taken)
        if not sent:
            raise self._unreachable()

    async def ask(self, command: str, text: str = "") -> Any:
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        try:
            self.put(entry_of(Question(number, 0, command, text.encode())))
            got = await within(self._timeout, answer)
        except asyncio.TimeoutError:
            raise TimeoutError(
                f"no server of {self._cluster.shown} answered within {self._timeout:g} s"
            ) from None
        finally:
            del self._questions[number]
        if got.kind == "missing":
            raise (GroupNotFound if command == "$group" else ClientNotFound)(got.text)
        return msgspec.msgpack.decode(got.message or b"\xc0")


class AsyncPublisher:
    """Sends to the clients of a :class:`Cluster`, from an asyncio program that is no server.

    ``async with`` connects and closes it. Sending does not wait: it raises
    :class:`ServerNotRunning` while the cluster cannot be reached, and the connection comes back by
    itself. A message has at most about 250,000 bytes.

    :param url: that of the cluster, or a :class:`Cluster`.
    :param app: its application, where a URL is given. Default ``"default"``.
    :param key: its secret, likewise. Default ``None``.
    :param header_len: that of its servers. Default 16.
    :param codec: that of its servers. Default ``"json"``.
    :param timeout: seconds that connecting and each look-up may take. Default 5.
    :raises ValueError: one of them makes no sense.
    :raises ImportError: the package of the broker's client is not installed.
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
        require_seconds("timeout", timeout)
        cluster = Cluster(url, app=app, key=key) if isinstance(url, str) else as_cluster(url)
        self._cluster = cluster
        self._codec = find_codec(codec)
        self._header_len = header_len
        self._outlet = Outlet(cluster, header_len, self._codec.name, timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._cluster.shown}>"

    async def connect(self) -> None:
        """Connect.

        :raises ServerNotRunning: that was not possible within the time-out.
        """
        await self._outlet.connect()

    async def close(self) -> None:
        """Write what was sent, for half a second at most, and close the connection."""
        await self._outlet.close()

    async def __aenter__(self: T) -> T:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _message(self, command: str, content: Any, volatile: bool, latest: str | None) -> Outgoing:
        message = content if type(content) is bytes else self._codec.encode(content)
        return Outgoing(command, message, self._header_len, volatile, latest)

    def send_all_clients(
        self,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        """Send to all clients; see :meth:`HiSockServer.send_all_clients`.

        :raises ServerNotRunning: the cluster cannot be reached; so do the others.
        """
        self._outlet.put(self._message(command, content, volatile, latest).entry("*", ""))

    def send_group(
        self,
        group: str,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        """Send to a group; see :meth:`HiSockServer.send_group`."""
        self._outlet.put(self._message(command, content, volatile, latest).entry("g", group))

    def send_room(
        self,
        room: str,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        """Send to a room; see :meth:`HiSockServer.send_room`."""
        self._outlet.put(self._message(command, content, volatile, latest).entry("r", room))

    def send_many(
        self,
        clients: Iterable[ClientRef],
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        """Send to some clients, each by its name or address; those that are away are skipped."""
        refs = [_reference(client) for client in clients]
        out = self._message(command, content, volatile, latest)
        self._outlet.put(entry_of(Named("send", refs, out.frame, out.old, volatile, latest)))

    def send_client(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        """Send to one client, by its name or address; nothing happens if it is not there."""
        self.send_many([client], command, content, volatile=volatile, latest=latest)

    def disconnect_client(
        self, client: ClientRef, *, force: bool = False, call_func: bool = False
    ) -> None:
        """Disconnect a client; see :meth:`HiSockServer.disconnect_client`."""
        ref = _reference(client)
        self._outlet.put(entry_of(Named("kick", [ref], force=force, call_func=call_func)))

    async def get_client(self, client: ClientRef) -> ClientInfo:
        """A client, by its name or address, as one of the servers knows it.

        :raises ClientNotFound: there is none.
        :raises TimeoutError: no server answered; so do the others.
        """
        return _infos(await self._outlet.ask("$client", _reference(client)))[0]

    async def get_group(self, group: str) -> list[ClientInfo]:
        """The clients in a group.

        :raises GroupNotFound: there is no such group.
        """
        return _infos(await self._outlet.ask("$group", group))

    async def get_room(self, room: str) -> list[ClientInfo]:
        """The clients in a room."""
        return _infos(await self._outlet.ask("$room", room))

    async def count(self) -> int:
        """How many clients there are on all servers."""
        return int(await self._outlet.ask("$count"))


def _reference(client: ClientRef) -> str:
    if isinstance(client, ClientInfo):
        return client.ip
    return client if isinstance(client, str) else format_addr(client)


def _infos(rows: Any) -> list[ClientInfo]:
    found = [_Found((ip, port), name, group, node) for ip, port, name, group, node in rows]
    return [RemoteInfo(cast(Remote, one)) for one in found]


publish("hisock", globals(), ("AsyncPublisher",))
