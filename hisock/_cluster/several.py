"""The part of a server that runs it in several processes."""

from __future__ import annotations

from typing import Any

from hisock._cluster.assignment import assignment
from hisock._cluster.config import Cluster
from hisock._cluster.view import ClusterView
from hisock._runtime.sockets import Address
from hisock._server.lifecycle import Lifecycle


class Several:
    """Runs a server in several processes."""

    _life: Lifecycle
    _cluster: ClusterView | None

    def _listen(self, addr: Address | list[Address] | None) -> None:
        raise NotImplementedError

    def start(self) -> Any:
        raise NotImplementedError

    def run_workers(self, workers: int, addr: Address | list[Address] | None = None) -> None:
        """Serve in several processes, until closed; in place of :meth:`start`.

        This process becomes the parent. Each worker runs the program anew up to this call, serves
        there, and ends with it. Workers that die are started again, SIGHUP replaces all one by one,
        and what ends a server (see :meth:`start`, and :meth:`close` in a worker) ends all of them.

        :param workers: how many, 1 or more.
        :param addr: where to listen, as for :class:`HiSockServer`; ``None`` if that has told.
        :raises KeyboardInterrupt: SIGINT (Ctrl-C) closed the server, in order.
        :raises RuntimeError: the server listens already, for one process only, or nowhere.
        :raises ServerException: a worker ended before it accepted clients.
        :raises OSError: the address is in use, or is not one of this machine.
        """
        self._use_workers(workers)
        if addr is not None:
            self._listen(addr)
        self.start()

    def _use_workers(self, workers: int) -> None:
        """Have so many processes run the server, as one."""
        self._life.set_workers(workers)
        if self._cluster is None:
            self._join(cluster_of_workers())

    def _join(self, cluster: Cluster | str) -> None:
        """Make it a part of a cluster."""
        from hisock._cluster.joining import join

        self._cluster = join(self, cluster)


def cluster_of_workers() -> str:
    """The cluster that the workers of one parent are, where the program names no other."""
    part = assignment()
    # The parent serves no clients, so that it connects to nothing.
    return f"local:{'/hisock' if part is None else part.folder}"
