"""Names that only one client of a cluster has: claimed before a client gets them.

A holder is the node's id and a number. A name whose holder's node is gone, or whose holder is not
known to its own node, is taken over by compare and swap; so nothing has to be cleaned up for
correctness when a process is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from hisock._cluster.link import Claims, LinkDown
from hisock._core.log_fields import fields
from hisock._core.reporting import one_line

if TYPE_CHECKING:
    from hisock._server.connection import Connection

logger = logging.getLogger("hisock.cluster")

#: Seconds that a client which comes back waits for its name, and between two tries.
_PATIENCE: Final = 3.0
_PAUSE: Final = 0.05
#: Names that are cleaned up, or claimed again, at the same time.
_AT_ONCE: Final = 64

#: Why a name is refused while the link is down.
UNREACHABLE: Final = "the cluster is not reachable"


class Names:
    """The names of this node's clients, where each may be had only once.

    :param me: the id of this node.
    :param claims: the store.
    :param is_alive: whether a node is there.
    """

    def __init__(self, me: str, claims: Claims, is_alive: Callable[[str], bool]) -> None:
        self._me = me
        self._claims = claims
        self._is_alive = is_alive
        self._numbers = itertools.count(1)
        #: What each client holds: its names with their holders. It has two while it changes them.
        self._held: dict[Connection, dict[str, str]] = {}
        self._owners: dict[str, Connection] = {}
        #: Names that could not be released because the link was down.
        self._left_over: set[tuple[str, str]] = set()
        self._releasing: set[asyncio.Task[None]] = set()

    def holds(self, connection: Connection, name: str | None) -> bool:
        """Whether a client holds a name already, or needs none."""
        return name is None or name in self._held.get(connection, ())

    def holds_any(self, connection: Connection) -> bool:
        """Whether a client holds a name."""
        return connection in self._held

    async def claim(
        self, connection: Connection, name: str, comes_back: Callable[[], bool]
    ) -> str | None:
        """Claim a name for a client.

        :param comes_back: whether another connection of the same client is still ending, so that
            its name will be free.
        :returns: why it cannot have it, or ``None``.
        """
        holder = f"{self._me}.{next(self._numbers)}"
        self._owners[holder] = connection
        refusal = UNREACHABLE
        try:
            if not await self._try(connection, name, holder, comes_back):
                return f"the name {name!r} is taken"
            if not connection.ended:
                self._held.setdefault(connection, {})[name] = holder
                return None
        except LinkDown:
            pass
        except asyncio.CancelledError:
            # The claim may be there already, or be made by what has been sent.
            task = asyncio.get_running_loop().create_task(self._release(name, holder))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
            raise
        finally:
            if not self.holds(connection, name) or self._held[connection][name] != holder:
                del self._owners[holder]
        # It may have been claimed before the link went down, or the client is gone.
        await self._release(name, holder)
        return refusal

    async def _try(
        self, connection: Connection, name: str, holder: str, comes_back: Callable[[], bool]
    ) -> bool:
        waited = 0.0
        while True:
            other = await self._claims.claim(name, holder)
            if other == holder:
                return True
            if self._is_stale(connection, other):
                if await self._claims.move(name, other, holder):
                    return True
                continue
            if waited >= _PATIENCE or not comes_back():
                return False
            await asyncio.sleep(_PAUSE)
            waited += _PAUSE

    def _is_stale(self, connection: Connection, holder: str) -> bool:
        """Whether nobody has what a holder holds, or only the same client's old connection."""
        node, _, number = holder.partition(".")
        if number == "0":  # somebody cleans up
            return True
        if node != self._me:
            return not self._is_alive(node)
        owner = self._owners.get(holder)
        if owner is None:
            return True
        return connection.resume is not None and owner.resume == connection.resume

    async def _release(self, name: str, holder: str) -> None:
        try:
            await self._claims.release(name, holder)
        except LinkDown:
            self._left_over.add((name, holder))

    async def let_go(self, connection: Connection, keep: str | None) -> None:
        """Release what a client holds, but for the name that it has now.

        :param keep: ``None`` if it is gone.
        """
        held = self._held.get(connection, {})
        gone = {name: holder for name, holder in held.items() if name != keep}
        for name, holder in gone.items():
            del held[name]
            self._owners.pop(holder, None)
        if not held:
            self._held.pop(connection, None)
        for name, holder in gone.items():
            await self._release(name, holder)

    async def claim_again(
        self, lost: Callable[[Connection, str], None], pause: float = 0.0
    ) -> None:
        """Claim all names again: the store may have lost them, or given them to others.

        :param lost: called with a client whose name another one has now.
        :param pause: seconds between two portions of names, where it is only to make sure.
        """
        left_over, self._left_over = self._left_over, set()
        await _in_portions(self._release(*each) for each in left_over)
        todo = [
            (connection, name, holder)
            for connection, held in self._held.items()
            for name, holder in held.items()
        ]

        async def again(connection: Connection, name: str, holder: str) -> None:
            held = self._held.get(connection, {}).get(name) == holder
            if held and not await self._try(connection, name, holder, lambda: False):
                lost(connection, name)

        await _in_portions((again(*each) for each in todo), pause)

    async def clean_up(self, names: Iterable[str]) -> None:
        """Free the names of clients whose node is gone."""

        async def free(name: str) -> None:
            holder = f"{self._me}.0"
            other = await self._claims.claim(name, holder)
            node = other.partition(".")[0]
            if other != holder and node != self._me and not self._is_alive(node):
                await self._claims.move(name, other, holder)
            await self._claims.release(name, holder)

        await _in_portions(free(name) for name in names)


async def _in_portions(todo: Iterable[object], pause: float = 0.0) -> None:
    work = iter(todo)
    while some := list(itertools.islice(work, _AT_ONCE)):
        for result in await asyncio.gather(*some, return_exceptions=True):  # type: ignore[call-overload] # coroutines
            if isinstance(result, LinkDown):
                return
            if isinstance(result, Exception):
                said = fields("cluster_names_unsettled", reason=result)
                logger.error("names could not be settled: %s", one_line(str(result)), extra=said)
        if pause and len(some) == _AT_ONCE:
            await asyncio.sleep(pause)
