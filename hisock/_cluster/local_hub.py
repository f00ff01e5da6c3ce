"""The meeting place of the nodes in one directory: which there are, and which has which name.

With ``--workers`` the parent serves it. Where there is no parent, the node that holds the lock of
the directory does; when that dies, another one takes over and the nodes tell it what they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path

import msgspec

from hisock._cluster.control import Control, ControlMessage
from hisock._cluster.local_line import Refusals
from hisock._runtime import peers

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, which has no local links
    fcntl = None  # type: ignore[assignment] # never used there

#: Seconds that a hub which has taken over waits for the nodes to tell their names.
_GATHERING_SECONDS = 0.25


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
    """Some of the names that a node's clients have, each with the holder."""

    names: dict[str, str]


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
        self._settled = 0.0

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
        took_over = path.exists()
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._settled = loop.time() + (_GATHERING_SECONDS if took_over else 0)
        self._server = await loop.create_unix_server(lambda: _Member(self), str(path))
        return True

    def close(self) -> None:
        """Serve no longer; the nodes find another hub, if one of them can be it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for member in list(self._nodes):
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
            self._gather(msgspec.convert(message, type=_Names).names)
        elif kind in ("claim", "move", "release"):
            self._after_gathering(member, msgspec.convert(message, type=_Wish))
        elif not isinstance(kind, str):
            raise msgspec.ValidationError("it has no kind")

    def _join(self, member: _Member, message: _Join) -> None:
        # Of each two nodes, the one that comes later connects to the other.
        member.send("nodes", nodes={one.node: one.where for one in self._nodes.values()})
        self._nodes[member] = message
        self._wait_longer()
        member.joined()

    def _gather(self, names: dict[str, str]) -> None:
        for name, holder in names.items():
            self._names.setdefault(name, holder)
        self._wait_longer()

    def _wait_longer(self) -> None:
        """More names may follow what has just come."""
        now = asyncio.get_running_loop().time()
        if now < self._settled:
            self._settled = now + _GATHERING_SECONDS

    def _after_gathering(self, member: _Member, message: _Wish) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._settled:
            loop.call_at(self._settled, self._after_gathering, member, message)
        elif member in self._nodes:  # else it has ended, and could never give the name back
            self._answer(member, message)

    def _answer(self, member: _Member, message: _Wish) -> None:
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


class _Member(Control):
    """One node's connection to the hub."""

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(lambda message: hub.hear(self, message), lambda: hub.left(self))
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
