"""A server that several worker processes run: in the parent, and in a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from hisock._runtime import heap
from hisock._runtime.sockets import Address, ListeningSocket, address_text
from hisock._server.crew import Crew

if TYPE_CHECKING:
    from hisock._cluster.assignment import Assignment
    from hisock._cluster.supervisor import Supervisor
    from hisock._server.lifecycle import Lifecycle

#: Seconds that a worker has to end before it is killed, unless :meth:`HiSockServer.close` says.
STOP_SECONDS = 10.0
#: The exit status of a worker that a signal ended in order.
_SIGNALLED = 143


def require_workers() -> None:
    """Check that workers can be run on this system.

    :raises NotImplementedError: it cannot hand sockets to other processes.
    """
    if sys.platform == "win32":
        raise NotImplementedError(
            "workers need Unix sockets, which Python does not have on Windows; start several "
            "servers with ports of their own, and join them by a broker: cluster='nats://...'"
        )


def make_crew(addr: Address | list[Address], workers: int) -> Crew:
    """Take this process's part.

    :raises NotImplementedError: this system cannot hand sockets to other processes.
    """
    require_workers()
    from hisock._cluster.assignment import assignment

    part = assignment()
    return ParentCrew(addr, workers) if part is None else WorkerCrew(part)


class ParentCrew:
    """Opens the addresses, and starts the workers."""

    def __init__(self, addr: Address | list[Address], workers: int) -> None:
        from hisock._cluster.command import own_command
        from hisock._cluster.sharing import open_shared

        self.count = workers
        self.listening: list[ListeningSocket] = []
        self._command = own_command()
        self._addresses = open_shared(addr)
        self.addrs = [one.addr for one in self._addresses]
        self._supervisor: Supervisor | None = None

    def _announce(self) -> None:
        where = ", ".join(address_text(addr) for addr in self.addrs)
        many = "1 worker" if self.count == 1 else f"{self.count} workers"
        print(f"Serving at {where} with {many}; Ctrl-C ends them", flush=True)

    def run(self, life: Lifecycle, serve: Callable[[Callable[[], None]], None]) -> None:
        from hisock._cluster.supervisor import Supervisor

        # Made before the server counts as running, so that stop() finds it from then on.
        self._supervisor = Supervisor(
            self._command, self._addresses, self.count, STOP_SECONDS, self._announce
        )
        if not life.claim():
            return
        try:
            interrupted = self._supervisor.run()
        finally:
            life.finish()
        if interrupted:
            raise KeyboardInterrupt

    def stop(self, timeout: float | None) -> None:
        if self._supervisor is not None:
            self._supervisor.stop(timeout)

    def close(self) -> None:
        for one in self._addresses:
            one.close()


class WorkerCrew:
    """Accepts from the sockets that the parent has opened."""

    def __init__(self, part: Assignment) -> None:
        from hisock._cluster.worker import ParentLine

        self.count = part.count
        self.listening = part.listening()
        self.addrs = [one.addr for one in self.listening]
        self._line = ParentLine(part)

    def run(self, life: Lifecycle, serve: Callable[[Callable[[], None]], None]) -> None:
        life.hub.listen(self._line)
        heap.freeze()
        serve(self._line.serving)
        # The program goes on in its parent only. Status 0 ends all workers.
        raise SystemExit(0 if life.closed_by_program else _SIGNALLED)

    def stop(self, timeout: float | None) -> None:
        """The hub is what runs here."""

    def close(self) -> None:
        """The addresses are the parent's."""
