"""The link between the nodes of one machine: a Unix socket for each two of them, no broker.

The connections are in a directory that only this user may enter. A batch goes as four bytes of its
length and itself. The end of a connection says that the node is gone, which takes the kernel a few
milliseconds however it ended, and a node that reads slowly delays nobody but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hisock._cluster import local_hub
from hisock._cluster.control import Control, ControlMessage
from hisock._cluster.link import (
    MOST_BATCH_BYTES,
    MOST_WAITING_BYTES,
    LinkDown,
    NodeHello,
    Receiver,
)
from hisock._cluster.local_hub import LocalHub, private_folder
from hisock._cluster.local_line import LocalLine, Refusals
from hisock._core.log_fields import fields
from hisock.exceptions import NotSupported

logger = logging.getLogger("hisock.server")

#: Seconds between two attempts to find a hub.
_RETRY_SECONDS = 0.02
#: Seconds that the hub may take to answer, besides those in which one that has taken over waits for
#: a node that is silent. They begin anew when it says that it still does.
_ANSWER_SECONDS = 1.0
#: Seconds that :meth:`LocalLink.close` waits for what was sent.
_FAREWELL_SECONDS = 0.5
#: Names that a hub is told in one line: of the longest, half of what a line may have.
_NAMES_A_LINE = 40
#: Bytes of a path that the systems allow for a Unix socket, the end of it included.
_LONGEST_PATH = 104


def make_link(url: str) -> LocalLink:
    """The link of ``local:/path/of/a/directory``.

    :raises ValueError: that is no path, or too long a one, or others may enter it.
    :raises NotSupported: there are no Unix sockets here.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise NotSupported(
            "local: needs Unix sockets, which Python does not have here; "
            "take a broker: nats:// or redis://"
        )
    folder = url.partition(":")[2]
    if not folder.startswith("/"):
        raise ValueError(f"local: is followed by the full path of a directory, not {folder!r}")
    if len(os.fsencode(folder)) + len("/0123456789abcdef.sock") >= _LONGEST_PATH:
        raise ValueError(f"{folder} is too long a path for Unix sockets; take a shorter one")
    return LocalLink(Path(folder))


class _Greeting(msgspec.Struct):
    """What is said first on a connection.

    :ivar node: the id of the node.
    :ivar app: its application.
    """

    node: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    app: str


class LocalLink:
    """One node's connections to the others; see :class:`hisock._cluster.link.NodeLink`."""

    broadcasts = False
    probes = False
    most_bytes = MOST_BATCH_BYTES
    limit = MOST_WAITING_BYTES
    title = "local"
    lag = 0.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.refusals = Refusals()
        self._claims = LocalClaims()
        self.claims = self._claims
        self._lines: dict[str, LocalLine] = {}
        self._hub: LocalHub | None = None
        self._listening: asyncio.Server | None = None
        self.dropped = 0
        self._up = False
        self._closing = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        private_folder(self._folder)
        self.node = hello.node
        self._receiver = receiver
        self.heard = receiver.received
        self._where = str(self._folder / f"{hello.node}.sock")
        #: What is said first on each connection.
        self.greeting = msgspec.json.encode(_Greeting(hello.node, hello.app))
        self._app = hello.app
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_unix_server(
            lambda: LocalLine(self, incoming=True), self._where
        )
        self._begin(self._find_hub())

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def refused(self) -> int:
        """How many connections were closed because what came by them is no node."""
        return self.refusals.count

    # -- the hub

    async def _find_hub(self) -> None:
        """Connect to the hub of the directory, or become it."""
        loop = asyncio.get_running_loop()
        path = str(self._folder / "hub.sock")
        while True:
            control = Control(self._hear_hub, self._hub_gone)
            try:
                await loop.create_unix_connection(lambda: control, path)  # noqa: B023 - used now
            except OSError:
                hub = LocalHub(self._folder, self.refusals)
                if await hub.start():
                    self._hub = hub
                else:
                    await asyncio.sleep(_RETRY_SECONDS)
                continue
            break
        self._claims.control = control
        control.send("join", node=self.node, where=self._where)
        await asyncio.sleep(0)  # this goes out before all names are put into lines
        self._claims.tell_held(control)

    def _hear_hub(self, message: ControlMessage) -> None:
        if message["kind"] == "nodes":
            self._begin(self._meet(message["nodes"]))
        elif message["kind"] == "lost":
            # This node was silent while the hub took over, and names of it were given away.
            self._receiver.up()
        else:
            self._claims.hear(message)

    async def _meet(self, nodes: dict[str, str]) -> None:
        """Connect to the nodes that were there before."""
        if not self._up:
            self._up = True
            self._receiver.up()
        loop = asyncio.get_running_loop()
        for node, where in nodes.items():
            if node in self._lines or node == self.node:
                continue
            try:
                await loop.create_unix_connection(lambda: LocalLine(self), where)
            except OSError as exc:
                text = "node %s has ended before it could be reached: %s"
                logger.debug(text, node, exc, extra=fields("cluster_node_ended", reason=exc))

    def _hub_gone(self) -> None:
        self._claims.lost()
        if not self._closing:
            self._begin(self._find_hub())

    # -- the lines

    def introduced(self, line: LocalLine, greeting: bytes) -> bool:
        """A node has said which it is; returns whether it is to be heard."""
        said = msgspec.json.decode(greeting, type=_Greeting)
        node = said.node
        if said.app != self._app:
            logger.warning(
                "a node of the application %.64r is in %s too, and is not heard; "
                "give each application a directory",
                said.app,
                self._folder,
                extra=fields("cluster_refused"),
            )
            return False
        if self._closing or node in self._lines:
            return False
        line.node = node
        self._lines[node] = line
        self._receiver.appeared(node)
        return True

    def ended(self, line: LocalLine) -> None:
        if line.node and self._lines.get(line.node) is line:
            del self._lines[line.node]
            self.dropped += line.unsent()
            if not self._closing:
                self._receiver.gone(line.node, "its connection was closed")

    def drained(self, line: LocalLine) -> None:
        if line.node and not self._closing:
            self._receiver.writable(line.node)

    def send(self, node: str, batch: bytes, messages: int = 1) -> bool:
        line = self._lines.get(node)
        if line is None or line.backlog() + len(batch) > self.limit:
            return False
        line.send(batch, messages)
        return True

    def send_all(self, batch: bytes, messages: int = 1) -> bool:
        raise NotImplementedError("there is a connection for each node")

    def backlog(self, node: str | None) -> int:
        if node is None:
            return sum(line.backlog() for line in self._lines.values())
        line = self._lines.get(node)
        return 0 if line is None else line.backlog()

    def probe(self, node: str) -> None:
        """The end of its connection tells."""

    async def close(self, goodbye: Collection[bytes] = ()) -> None:
        if self._closing or self._listening is None:  # it has closed, or could not start
            return
        self._closing = True
        for task in self._tasks:
            task.cancel()
        lines = list(self._lines.values())
        for line in lines:
            for batch in goodbye:
                line.send(batch)
            line.close()
        self._listening.close()
        if lines:
            await asyncio.wait([line.closed for line in lines], timeout=_FAREWELL_SECONDS)
        for line in lines:
            line.abort()
        self._claims.close()
        if self._hub is not None:
            self._hub.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._where)


class LocalClaims:
    """Names, which the hub decides on; see :class:`hisock._cluster.link.Claims`.

    :ivar control: the connection to the hub.
    :ivar held: the names that this node's clients have, for a hub that takes over.
    """

    def __init__(self) -> None:
        self.control: Control | None = None
        self.held: dict[str, str] = {}
        self._ids = itertools.count()
        self._pending: dict[int, asyncio.Future[str | None]] = {}
        #: When the hub last said that it waits for names of other nodes.
        self._gathering = float("-inf")

    async def claim(self, name: str, holder: str) -> str:
        has = await self._ask("claim", name, holder)
        if has == holder:
            self.held[name] = holder
        return has or holder

    async def move(self, name: str, old: str, new: str) -> bool:
        moved = await self._ask("move", name, new, old=old) == new
        if moved:
            self.held[name] = new
        return moved

    async def release(self, name: str, holder: str) -> None:
        if self.held.get(name) == holder:
            del self.held[name]
        await self._ask("release", name, holder)

    async def _ask(self, kind: str, name: str, holder: str, **rest: str) -> str | None:
        if self.control is None:
            raise LinkDown("no process serves the names of this machine's nodes at the moment")
        number = next(self._ids)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        self.control.send(kind, id=number, name=name, holder=holder, **rest)
        try:
            return await self._patiently(answer)
        finally:
            self._pending.pop(number, None)
            if not answer.cancel():
                answer.exception()  # else the loop logs that nobody has asked for it

    async def _patiently(self, answer: asyncio.Future[str | None]) -> str | None:
        """Wait for an answer, and longer for a hub that says it waits for other nodes' names."""
        loop = asyncio.get_running_loop()
        asked, most = loop.time(), _ANSWER_SECONDS + local_hub.GATHERING_SECONDS
        while (left := max(asked, self._gathering) + most - loop.time()) > 0:
            await asyncio.wait({answer}, timeout=left)
            if answer.done():
                return answer.result()
        raise LinkDown("the process that serves the names does not answer")

    def hear(self, message: ControlMessage) -> None:
        """The hub answers a question, or asks for patience; other kinds are ignored."""
        if message["kind"] == "gathering":
            self._gathering = asyncio.get_running_loop().time()
        elif message["kind"] == "answer":
            self._answered(message)

    def _answered(self, message: ControlMessage) -> None:
        answer = self._pending.get(message["id"])
        if answer is not None and not answer.done():
            answer.set_result(message["has"])

    def tell_held(self, control: Control) -> None:
        """Tell a hub which names there are, in lines that it takes."""
        names = list(self.held.items())
        for first in range(0, len(names) or 1, _NAMES_A_LINE):
            end = first + _NAMES_A_LINE
            control.send("names", names=dict(names[first:end]), more=end < len(names))

    def lost(self) -> None:
        """The hub is gone."""
        self.control = None
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(LinkDown("the process that serves the names has ended"))

    def close(self) -> None:
        if self.control is not None:
            self.control.close()
