"""What a program sees of its cluster: ``server.cluster`` and ``server.local``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from hisock._cluster.alone import Alone
from hisock._cluster.asking import Answering, Questions, as_asked, gather
from hisock._cluster.link import NodeHello
from hisock._cluster.node import Node
from hisock._cluster.peers import OtherNode
from hisock._cluster.records import Question
from hisock._core.binding import cast_reply
from hisock._core.checks import require_number, seconds
from hisock._core.public import publish
from hisock._core.server_events import ServerEvents
from hisock._runtime.waiters import LoopWaiter, call_timed_out
from hisock._server.stats import ServerStats

F = TypeVar("F", bound=Callable[..., Any])
#: The question that asks a node for its figures. A program's command cannot have this name.
_STATS = "$stats$"


@dataclass(frozen=True)
class NodeInfo:
    """One server of a cluster.

    :ivar node: its id; it has another one each time that it is started.
    :ivar address: where players can be sent to, as its ``Cluster(address=)`` says, or ``None``.
    :ivar host: its machine's name.
    :ivar pid: its process.
    :ivar started: when it was started, in seconds since 1970.
    """

    node: str
    address: tuple[str, int] | None
    host: str
    pid: int
    started: float

    @classmethod
    def of(cls, hello: NodeHello) -> NodeInfo:
        """What a node has said of itself."""
        return cls(hello.node, hello.address, hello.host, hello.pid, hello.started)

    def shown(self) -> str:
        """The node as it appears in logs."""
        return f"the node {self.node}"


class _Origin:
    """A node as the source of a call: its handlers run in order, which nothing waits for."""

    def __init__(self, info: NodeInfo) -> None:
        self.info: Any = info

    def begin(self) -> None:
        """An async handler begins."""

    def idle(self) -> None:
        """It has ended."""


class ClusterView:
    """The cluster that a server is part of: ``server.cluster``. Without one it is alone there.

    Everything but :meth:`call` and :meth:`stats` may be used from any thread.
    """

    def __init__(self, events: ServerEvents, stats: Callable[[], ServerStats], me: Alone) -> None:
        self._events = events
        self._stats = stats
        self._node: Node | Alone = me
        self._asking: Questions | Alone = me

    def attach(self, node: Node, asking: Questions) -> None:
        """Show a cluster from now on."""
        self._node, self._asking = node, asking
        asking.node = self._answer

    def __repr__(self) -> str:
        return (
            f"<the cluster of node {self._node.hello.node}: {self.state}, {len(self.nodes)} nodes>"
        )

    @property
    def state(self) -> str:
        """``"up"``; ``"joining"`` until the others have introduced themselves, ``"down"`` while
        the link to them is, ``"closed"``."""
        return self._node.state

    @property
    def me(self) -> NodeInfo:
        """This server."""
        return NodeInfo.of(self._node.hello)

    @property
    def nodes(self) -> list[NodeInfo]:
        """All servers that have joined, this one included, the oldest first."""
        hellos = [other.hello for other in list(self._node.others.values()) if other.here]
        found = map(NodeInfo.of, [self._node.hello, *hellos])
        return sorted(found, key=lambda info: (info.started, info.node))

    @property
    def leader(self) -> NodeInfo:
        """The oldest server, which has the ticks with ``once=True``. All agree on it, but for the
        time that they take to notice who has come or gone, and while they are cut off."""
        return self.nodes[0]

    def node_for(self, room: str) -> NodeInfo:
        """The server that a room should live on: the same answer on all of them.

        Servers that come or go move only the rooms that they get or had (rendezvous hashing). In a
        lobby, send the players of a room to its ``address``.
        """

        def weight(info: NodeInfo) -> bytes:
            return blake2b(room.encode(), key=info.node.encode(), digest_size=8).digest()

        return max(self.nodes, key=lambda info: (weight(info), info.node))

    # -- questions

    def on(self, command: str, replace: bool = False) -> Callable[[F], F]:
        """Register the handler of a command of other servers: ``@server.cluster.on("command")``.

        It takes ``(node, message)``, ``(node)`` or nothing, and may be async; what it returns is
        the answer. Client's commands never reach it.

        :param replace: replace a handler that is there already without a warning.
        :raises TypeError: its arguments do not fit.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        """
        return self._events.on(command, override=True, replace=replace)

    async def call(
        self,
        node: NodeInfo | str,
        command: str,
        content: Any = None,
        type: Any = None,
        timeout: float | None = 5.0,
    ) -> Any:
        """Ask a server, and return what its handler does; on the server's loop.

        :param node: the server or its id, such as ``client.node``; this server may ask itself.
        :param type: the type that the answer is cast to. By default it is ``bytes``, or ``None``
            for an empty one.
        :param timeout: seconds to wait (default 5); ``None`` for no limit.
        :raises RemoteError: the handler raised.
        :raises TimeoutError: no answer came in time.
        :raises ConnectionLost: there is no such server, or it is gone, or the link is down.
        :raises InvalidTypeCast: the answer does not fit ``type``.
        """
        codec = self._events.codec
        cast, message = codec.cast_for(type), codec.encode_exactly(content)
        name = node.node if isinstance(node, NodeInfo) else node
        answer = await self._ask(name, command, message, seconds(timeout))
        return cast_reply(command, cast, answer)

    async def _ask(
        self, node: str, command: str, message: bytes | None, timeout: float | None
    ) -> bytes | None:
        waiter: LoopWaiter[bytes | None] = LoopWaiter()
        if node == self._node.hello.node:
            end = self._answer_here(Question(0, 0, command, message), waiter)
        else:
            asking = self._asking
            number = asking.ask(node, 0, command, message, timeout, waiter)
            end = partial(asking.forget, number, True)
        try:
            return await waiter.wait(timeout)
        except TimeoutError:
            raise call_timed_out(command, timeout) from None
        finally:
            end()

    def _answer_here(self, question: Question, waiter: Any) -> Callable[[], None]:
        def done(value: bytes | None, exc: BaseException | None) -> None:
            if exc is None:
                waiter.deliver(value)
            else:
                waiter.fail(as_asked(exc))

        return self._answer_for(self.me, question, Answering(done))

    def _answer(self, node: OtherNode, question: Question, answer: Answering) -> Callable[[], None]:
        """Answer another node; see :class:`hisock._cluster.asking.Asked`."""
        return self._answer_for(NodeInfo.of(node.hello), question, answer)

    def _answer_for(
        self, asker: NodeInfo, question: Question, answer: Answering
    ) -> Callable[[], None]:
        if question.command == _STATS:
            answer.deliver(msgspec.msgpack.encode(self._stats()))
            return _nothing
        cancel: list[Callable[[], Any]] = []

        def done(result: Any, exc: BaseException | None) -> None:
            if exc is not None:
                answer.fail(exc)
                return
            try:
                answer.deliver(self._events.codec.encode_exactly(result))
            except Exception as unsendable:
                self._events.runner.report(unsendable, question.command, None)
                answer.fail(unsendable)

        self._events.call(_Origin(asker), question.command, question.message, done, cancel.append)
        return lambda: cancel[0]() if cancel else None

    async def stats(self, timeout: float = 2.0) -> tuple[dict[str, ServerStats], list[str]]:
        """The figures of all servers.

        :param timeout: seconds to wait for them.
        :returns: what came, by the id of the node, and the ids of those that did not answer.
        """
        require_number("timeout", timeout)
        waiting: dict[str, asyncio.Future[Any]] = {
            info.node: asyncio.ensure_future(self._ask(info.node, _STATS, None, timeout))
            for info in self.nodes
        }
        answers, missing = await gather(waiting, timeout)
        decode = msgspec.msgpack.Decoder(ServerStats).decode
        return {node: decode(answer or b"") for node, answer in answers.items()}, missing


def _nothing() -> None:
    """End nothing: it is answered."""


publish("hisock", globals(), ("ClusterView", "NodeInfo"))
