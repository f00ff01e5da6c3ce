"""What brings clients to a server: sockets that listen, and whatever else connections come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hisock._server.hub import Hub


class Listener(Protocol):
    """Brings connections to a hub, from wherever it is.

    Each of them is given to :meth:`Hub.attach`. Everything here is called on the loop's thread.
    """

    def start(self, hub: Hub) -> None:
        """Bring connections from now on."""

    async def close(self) -> None:
        """Bring no more, and wait until those that are on their way are attached or given up."""
