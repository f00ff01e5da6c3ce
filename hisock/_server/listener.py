"""The seam for sources of connections: listening sockets, and anything else that has clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hisock._server.hub import Hub


class Listener(Protocol):
    """A source of connections, which gives each of them to :meth:`Hub.attach`.

    Everything here is called on the loop's thread.
    """

    def start(self, hub: Hub) -> None:
        """Bring connections from now on."""

    async def close(self) -> None:
        """Bring no more, and wait until pending connections are attached or aborted."""
