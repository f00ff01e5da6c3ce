"""The part of a server that runs it in several processes."""

from __future__ import annotations

from typing import Any

from hisock._cluster.config import Cluster
from hisock._runtime.sockets import Address
from hisock._server.hub import Hub
from hisock._server.lifecycle import Lifecycle


class Several:
    """Runs a server in several processes."""

    _hub: Hub
    _life: Lifecycle

    def _listen(self, addr: Address | list[Address] | None) -> None:
        raise NotImplementedError

    def _join_cluster(self, cluster: Cluster | str) -> None:
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
        if self._hub.broadcast.backplane is None:
            from hisock._cluster.alone import cluster_of_workers

            self._join_cluster(cluster_of_workers())
