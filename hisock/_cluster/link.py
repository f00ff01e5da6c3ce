"""The seam between a cluster and what carries it: :class:`NodeLink` and :class:`Claims`.

A link carries batches between the nodes of one application: over Unix sockets between the workers
of a machine, over NATS, over Redis. It knows nothing of clients, names and messages. What a batch
means, which nodes are alive and what was lost is the business of :mod:`hisock._cluster.node`.

**What a link guarantees**

- *Order for each pair of nodes.* What node A gives to :meth:`NodeLink.send` for B, and to
  :meth:`NodeLink.send_all`, arrives at B in the order of the calls, over both methods together.
  Nothing is promised about the order of what two nodes send.
- *At most once.* A batch arrives whole, once, or not at all. A link never sends a batch twice and
  never delivers a node's own batches to itself. (The receiver drops repeated numbers as a second
  line of defence, but that is no licence.)
- *Nothing stale.* While a link is down it takes nothing: :meth:`NodeLink.send` returns ``False``.
  What it took before and has not written when it goes down, it discards; it never hands batches to
  a client library that would keep them for later. After an outage nothing is delivered that was
  given to the link more than 0.25 seconds before.
- *It never blocks*, and never grows: it holds at most :attr:`NodeLink.limit` bytes for each node
  (for a broker: in all), and takes nothing above that.
- *All on one thread.* Every method is called on the loop that ran when :meth:`NodeLink.start` was
  called, and every method of the :class:`Receiver` is called there.

**What it need not do.** Heartbeats, hellos to nodes that appear, time-outs of silent nodes, lost
batches, re-joining after an outage: the node does all that with batches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from hisock.exceptions import HiSockError

#: The version of what nodes say to each other; another one is refused.
PROTOCOL = 1
#: Bytes of a batch at most; a link that carries less says so in :attr:`NodeLink.most_bytes`.
MOST_BATCH_BYTES = 256 * 1024
#: Bytes that a stream may hold back at most.
MOST_WAITING_BYTES = 8 * 1024 * 1024


class LinkDown(HiSockError, ConnectionError):
    """The link between the nodes is down, so that nothing can be asked of it."""


class NodeHello(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself. Unknown fields are ignored.

    :ivar node: its id: 16 hexadecimal digits, made anew by each process. It is safe as a part of a
        subject, a channel or a file name.
    :ivar app: the application; nodes of others are not heard.
    :ivar protocol: :data:`PROTOCOL`.
    :ivar header_len: that of its server's frames, which are passed on as they are.
    :ivar codec: that of its server.
    :ivar incarnation: 1 at first; one more each time that the others had given it up meanwhile.
    :ivar address: where players can be sent to, ``None`` if that was not said.
    :ivar host: the machine's name.
    :ivar pid: the process.
    :ivar started: when the process started, in seconds since 1970. The oldest node leads.
    :ivar unique: whether the server has ``unique_names``.
    :ivar where: for the link's own use: where other nodes connect to it, such as the path of its
        Unix socket.
    """

    node: str
    app: str
    header_len: int
    codec: str
    protocol: int = PROTOCOL
    incarnation: int = 1
    address: tuple[str, int] | None = None
    host: str = ""
    pid: int = 0
    started: float = 0.0
    unique: bool = False
    where: str = ""


class Receiver(Protocol):
    """What a link tells its node. Called on the loop's thread; nothing here raises."""

    def up(self) -> None:
        """The link can send, and hears the others from now on.

        Called once after :meth:`NodeLink.start` when that is so, and again after each :meth:`down`.
        :meth:`appeared` follows for each node that can be reached, where the link knows them.
        """

    def down(self, reason: str) -> None:
        """The link cannot send. What it held is discarded.

        :param reason: for the log, without credentials.
        """

    def appeared(self, node: str) -> None:
        """A node can be reached from now on: it gets what is sent to it.

        For links with a connection for each node. A broker does not know, and never calls it.
        """

    def gone(self, node: str, reason: str) -> None:
        """A node's process has certainly ended, or can certainly not be reached any more.

        A closed connection, "no responders", no subscribers: as soon as the link knows. Silence
        alone is not enough. May be called for nodes that were never heard of.
        """

    def received(self, batch: bytes) -> None:
        """A batch has come; :mod:`hisock._cluster.batch` says what is in it and who sent it."""

    def writable(self, node: str | None) -> None:
        """The link's backlog has shrunk below a quarter of :attr:`NodeLink.limit`.

        :param node: for which node; ``None`` for all, as with a broker.
        """


class Claims(Protocol):
    """Names that only one client of a cluster may have.

    A name is held for a *holder*, a text of at most 64 ASCII characters that the caller makes and
    that begins with the id of the caller's node. Names are any text of at most 1024 characters; a
    store that allows less for its keys hashes them (BLAKE2b, 16 bytes).

    Each operation is atomic in the store, whatever other nodes do at the same time. Each raises
    :class:`LinkDown` if the store cannot be reached or does not answer within a second; the caller
    cannot know then whether it was done, and releases the name later. With ``local:`` it is three
    seconds, as the process that decides may wait for silent ones, and up to eleven while these
    tell it their names one after another.
    """

    async def claim(self, name: str, holder: str) -> str:
        """Take a name that nobody has.

        :returns: the holder that has it now: the one given here if it is free, or was already this
            holder's; otherwise the other holder.
        """

    async def move(self, name: str, old: str, new: str) -> bool:
        """Take a name over, if ``old`` holds it or nobody does (compare and swap).

        :returns: whether ``new`` holds it now.
        """

    async def release(self, name: str, holder: str) -> None:
        """Give a name up, if that holder has it (compare and delete); otherwise do nothing."""


class NodeLink(Protocol):
    """Carries batches between nodes; see the module for what it guarantees.

    :ivar broadcasts: whether :meth:`send_all` costs one message however many nodes there are. If
        not, the node calls :meth:`send` for each, and each stream has a pace of its own.
    :ivar probes: whether :meth:`probe` can find out more than the link reports by itself.
    :ivar most_bytes: bytes of a batch at most, :data:`MOST_BATCH_BYTES` or less.
    :ivar limit: bytes that it holds for a node at most (a broker: in all).
    :ivar claims: the store of names.
    :ivar title: what it is called in logs and figures, ``"nats"``, without credentials.
    :ivar dropped: messages that it took and that are not known to have left, of connections that
        were lost since: it may be more than did not arrive, but not less, save for what waited in
        the memory of the kernel for a process of this machine.
    :ivar lag: seconds of the last round trip to the broker; 0.0 where that is not measured.
    """

    broadcasts: bool
    probes: bool
    most_bytes: int
    limit: int
    claims: Claims
    title: str
    dropped: int
    lag: float

    @property
    def refused(self) -> int:
        """How many connections the link closed because what came by them is no node."""

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        """Begin to connect, and return as soon as that has begun.

        The link connects, and connects again after an outage, by itself; it reports each with
        :meth:`Receiver.up` and :meth:`Receiver.down`. It does not raise because a broker is away.

        :raises ValueError: the address makes no sense.
        :raises ImportError: the client library is not installed; the error says what to install.
        """

    def send(self, node: str, batch: bytes, messages: int = 1) -> bool:
        """Give a batch to one node. Never blocks, never raises.

        :param messages: how many :attr:`dropped` counts for it.
        :returns: ``False`` if the link does not take it: it is down, does not know the node, or
            holds :attr:`limit` bytes for it already.
        """

    def send_all(self, batch: bytes, messages: int = 1) -> bool:
        """Give a batch to all other nodes, for links with :attr:`broadcasts`.

        :param messages: how many :attr:`dropped` counts for it, of all nodes together.
        :returns: ``False`` if the link does not take it.
        """

    def backlog(self, node: str | None) -> int:
        """Bytes that the link holds for a node (a broker: in all) and the kernel has not taken."""

    def probe(self, node: str) -> None:
        """Find out whether a node is there; if it is not, :meth:`Receiver.gone` says so."""

    async def close(self, goodbye: Collection[bytes] = ()) -> None:
        """Write what was taken and ``goodbye`` (to all), for half a second at most, and end.

        The receiver is not called any more.
        """


#: Makes the link of a URL; the keys are schemes. A link is imported when it is first made.
MakeLink = Callable[[str], NodeLink]
