"""The meeting place of the nodes in one directory: which there are, and which has which name.

With ``--workers`` the parent serves it. Where there is no parent, the node that holds the lock of
the directory does; when that dies, another one takes over and the nodes tell it what they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hisock._cluster.control import Control, ControlMessage
from hisock._cluster.local_line import Refusals
from hisock._runtime import peers
from hisock._runtime.sockets import is_left_over

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, which has no local links
    fcntl = None  # type: ignore[assignment] # never used there

#: Seconds that a hub which has taken over waits for nodes that are alive but tell no names, each
#: time that one of them has told some; and in all, which is less than a client may take to join.
GATHERING_SECONDS = 2.0
_LONGEST_GATHERING = 8.0
#: Seconds between two words to those that wait meanwhile.
_WORD_SECONDS = 0.5


def private_folder(folder: Path) -> Path:
    """Make a directory that only this user may enter, or check that it is one.

    :raises ValueError: others may enter it, or own it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ValueError(
            f"{folder} is open to other users, who could join the cluster; "
            f"chmod 700 it, or name a directory of your own"
        )
    return folder


class _Join(msgspec.Struct):
    """A node is there.

    :ivar where: the path of its socket.
    """

    node: str
    where: str


class _Names(msgspec.Struct):
    """Some of the names that a node's clients have, each with the holder.

    :ivar more: whether another line of them follows.
    """

    names: dict[str, str]
    more: bool = False


class _Wish(msgspec.Struct):
    """A node wants a name for a holder, or gives it back; the hub answers with the same ``id``.

    :ivar old: the holder that it is taken from, of a ``move``.
    """

    kind: str
    id: int
    name: str
    holder: str
    old: str | None = None


class LocalHub:
    """Serves one directory.

    :param folder: the directory.
    :param refusals: counts what is closed because it is no node.
    """

    def __init__(self, folder: Path, refusals: Refusals | None = None) -> None:
        self._folder = folder
        self.refusals = refusals or Refusals()
        self._nodes: dict[_Member, _Join] = {}
        self._names: dict[str, str] = {}
        self._lock = -1
        self._server: asyncio.AbstractServer | None = None
        #: Nodes that were there before this hub and have not told all their names yet.
        self._awaited: set[str] = set()
        self._waiting: list[tuple[_Member, _Wish]] = []
        self._overdue: asyncio.TimerHandle | None = None
        #: When it ends to wait for names at the latest, and when it last said that it waits.
        self._latest = self._said = 0.0

    async def start(self) -> bool:
        """Serve, unless another process does; returns whether it is this one."""
        lock = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        path = self._folder / "hub.sock"
        path.unlink(missing_ok=True)
        # Whether the hub before left its socket says nothing: some versions of asyncio remove it.
        self.await_names(
            path.stem
            for path in self._folder.glob("*.sock")
            if path.is_socket() and not is_left_over(str(path))
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Member(self), str(path))
        return True

    def close(self) -> None:
        """Serve no longer; the nodes find another hub, if one of them can be it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._waiting.clear()
        self._gathered()
        members = list(self._nodes)
        self._nodes.clear()  # they have not ended, so their sockets stay
        for member in members:
            member.close()
        if self._lock != -1:
            os.close(self._lock)
            self._lock = -1

    # -- what members say

    def hear(self, member: _Member, message: ControlMessage) -> None:
        """Do what a member wants; kinds of later versions are ignored.

        :raises msgspec.ValidationError: the message is none of a node.
        """
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "join":
            self._join(member, msgspec.convert(message, type=_Join))
        elif kind == "names":
            self._gather(member, msgspec.convert(message, type=_Names))
        elif kind in ("claim", "move", "release"):
            wish = msgspec.convert(message, type=_Wish)
            if self._awaited:
                self._waiting.append((member, wish))
            else:
                self._answer(member, wish)
        elif not isinstance(kind, str):
            raise msgspec.ValidationError("it has no kind")

    def _join(self, member: _Member, message: _Join) -> None:
        # Of each two nodes, the one that comes later connects to the other.
        member.send("nodes", nodes={one.node: one.where for one in self._nodes.values()})
        self._nodes[member] = message
        member.joined()

    def _gather(self, member: _Member, told: _Names) -> None:
        for name, holder in told.names.items():
            if self._names.setdefault(name, holder) != holder:
                member.lost_names = True
        if told.more:
            self._wait_for_names()
            return
        if member.lost_names:
            member.lost_names = False
            member.send("lost")
        if member in self._nodes:
            self._told(self._nodes[member].node)

    def await_names(self, nodes: Iterable[str]) -> None:
        """Answer nobody before nodes that were there before this hub have told their names."""
        self._awaited = set(nodes)
        self._latest = asyncio.get_running_loop().time() + _LONGEST_GATHERING
        self._wait_for_names()

    def _wait_for_names(self) -> None:
        """A node that falls silent, as one that is stopped, holds up the others for a while."""
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if self._awaited:
            loop = asyncio.get_running_loop()
            left = min(GATHERING_SECONDS, self._latest - loop.time())
            self._overdue = loop.call_later(left, self._gathered)
            if loop.time() - self._said >= _WORD_SECONDS:
                self._said = loop.time()
                self._ask_for_patience()

    def _ask_for_patience(self) -> None:
        """Have those that wait for an answer begin to wait anew."""
        for member in {member for member, _ in self._waiting}:
            member.send("gathering")

    def _told(self, node: str) -> None:
        """A node has told all its names, or has ended."""
        if node in self._awaited:
            self._awaited.discard(node)
            self._wait_for_names()
            if not self._awaited:
                self._gathered()

    def _gathered(self) -> None:
        self._awaited.clear()
        self._wait_for_names()
        waiting, self._waiting = self._waiting, []
        for member, wish in waiting:
            self._answer(member, wish)

    def _answer(self, member: _Member, message: _Wish) -> None:
        if member not in self._nodes:
            return  # it has ended, and could never give the name back
        name, holder = message.name, message.holder
        has = self._names.get(name)
        if message.kind == "claim":
            has = self._names.setdefault(name, holder)
        elif message.kind == "move":
            if has in (None, message.old, holder):
                has = self._names[name] = holder
        elif has == holder:
            has = self._names.pop(name)
        member.send("answer", id=message.id, has=has)

    def left(self, member: _Member) -> None:
        """A node's process has ended: its names are free, and its socket is of no use."""
        gone = self._nodes.pop(member, None)
        if gone is None:
            return
        for name in [name for name, has in self._names.items() if has.startswith(gone.node)]:
            del self._names[name]
        with contextlib.suppress(OSError):
            os.unlink(self._folder / Path(gone.where).name)
        self._told(gone.node)


class _Member(Control):
    """One node's connection to the hub.

    :ivar lost_names: whether it told of names that another node has.
    """

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(lambda message: hub.hear(self, message), lambda: hub.left(self))
        self.lost_names = False
        self._refusals = hub.refusals
        self._overdue = self._refusals.expect_greeting(self._refuse)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not peers.is_same_user(transport):
            self._refusals.count += 1
            self.close()

    def joined(self) -> None:
        """It has said which node it is."""
        self._overdue.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._overdue.cancel()
        super().connection_lost(exc)

    def _refuse(self, what: str) -> None:
        self._overdue.cancel()
        self._refusals.note(what)
        self.close()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except (ValueError, RecursionError, msgspec.ValidationError):
            self._refuse("what no node says")
