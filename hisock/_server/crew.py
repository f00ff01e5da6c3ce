"""The seam for servers that several processes run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from hisock._runtime.sockets import Address, ListeningSocket

if TYPE_CHECKING:
    from hisock._server.lifecycle import Lifecycle


class Crew(Protocol):
    """This process's part in a server of several processes.

    :ivar listening: the sockets that this process accepts from.
    :ivar addrs: where the server listens, each address with its real port.
    :ivar count: how many workers there are.
    """

    count: int
    listening: list[ListeningSocket]
    addrs: list[Any]

    def run(self, life: Lifecycle, serve: Callable[[Callable[[], None]], None]) -> None:
        """Do this process's part, until the end.

        :param serve: serves clients here until closed; called with what it is to call once
            clients are being accepted.
        """

    def stop(self, timeout: float | None) -> None:
        """End it. From any thread."""

    def close(self) -> None:
        """Free the addresses."""


#: Takes this process's part in a server at an address, run by so many workers.
MakeCrew = Callable[["Address | list[Address]", int], Crew]
