"""This node's own clients, as the others get to know them: numbered changes, and snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from hashlib import blake2b
from itertools import islice
from typing import Final, Protocol

from hisock._cluster.records import KNOWS_CALLS, MODERN, Change, Delta, Portion, Row, entry_of
from hisock._cluster.streams import Streams
from hisock._core.client_info import ClientInfo
from hisock._runtime.loop_thread import LoopThread

#: Clients in one portion of a snapshot, which is made in one iteration of the loop.
_PORTION: Final = 500


class OwnClient(Protocol):
    """What the roster tells of a connection."""

    info: ClientInfo
    joined: int
    features: frozenset[str] | None
    resume: str | None

    @property
    def rooms(self) -> Set[str] | None:
        """The rooms that it is in; ``None`` if it was never in one."""

    @property
    def ended(self) -> bool:
        """Whether it has left meanwhile."""


def resume_hash(secret: str | None) -> bytes:
    """What others learn of the secret with which a client can resume."""
    if secret is None:
        return b""
    return blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def row_of(client: OwnClient) -> Row:
    """A client's row."""
    info, features = client.info, client.features
    flags = 0 if features is None else MODERN | (KNOWS_CALLS if "call" in features else 0)
    ip, port = info.addr
    rooms = sorted(client.rooms) if client.rooms else []
    resume = resume_hash(client.resume)
    return Row(client.joined, ip, port, info.name, info.group, flags, resume, rooms)


class OwnRoster:
    """Tells the others of this node's clients. Everything here runs on the loop's thread.

    :param clients: all of them, those that have just joined included.
    :ivar number: how many changes there were.
    """

    def __init__(
        self,
        streams: Streams,
        thread: LoopThread,
        clients: Callable[[], Iterable[OwnClient]],
    ) -> None:
        self.number = 0
        self._streams = streams
        self._thread = thread
        self._clients = clients
        self._changes: list[Change] = []
        #: For each node that gets a snapshot now, the question that it answers.
        self._answering: dict[str, int] = {}
        streams.before = self._seal

    def note(self, change: Change) -> None:
        """Something has changed; it goes out before the next message, or by itself."""
        streams = self._streams
        with streams.lock:
            self.number += 1
            if not (streams.up and streams.lanes):
                return
            self._changes.append(change)
            streams.has_before = True
        streams.wake()

    def _seal(self) -> bytes | None:
        # Called with the lock of the streams, from any thread.
        changes = self._changes
        if not changes:
            return None
        self._changes = []
        self._streams.has_before = False
        return entry_of(Delta(self.number - len(changes) + 1, changes))

    def snapshot(self, node: str, question: int) -> None:
        """Send a snapshot to a node, a portion in each iteration of the loop.

        Changes that happen meanwhile go between the portions, in order; so what a portion says of
        a client is what is so at that moment.
        """
        self._answering[node] = question
        self._portion(node, question, iter(list(self._clients())), first=True)

    def _portion(self, node: str, question: int, clients: Iterator[OwnClient], first: bool) -> None:
        if self._answering.get(node) != question:
            return
        some = list(islice(clients, _PORTION))
        rows = [row_of(client) for client in some if not client.ended]
        last = len(some) < _PORTION
        portion = Portion(question, self.number, first, last, rows)
        self._streams.put([node], entry_of(portion), push=True)
        if last:
            del self._answering[node]
        else:
            self._thread.loop.call_soon(self._portion, node, question, clients, False)

    def forget(self, node: str) -> None:
        """A node is gone: its snapshot is not continued."""
        self._answering.pop(node, None)
