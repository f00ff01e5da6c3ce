"""The game server in several processes: the parent obeys the director, its workers report to it.

The workers have the standard streams of their parent. They write to the one, a line at a time, and
leave the other to the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from time import perf_counter_ns, process_time

from hisock import ClientInfo, Cluster, HiSockServer, NodeInfo
from hisock._cli.demo.control import allow_open_files, listen, say
from hisock._cli.demo.nodes import CLUSTER_VARIABLE, REPORT_SECONDS
from hisock._cli.demo.server import Counts, build
from hisock._cluster.assignment import assignment
from hisock.framing import IMPLEMENTATION


def run_parent(server: HiSockServer) -> None:
    """Run the workers until the director says ``leave``."""

    def obey(word: str) -> None:
        if word == "leave":
            server.close()

    listen(obey)
    # The address is for people; the director reads JSON, and gets it from the workers.
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(KeyboardInterrupt):
        server.start()


def run_worker(server: HiSockServer, counts: Counts, number: int) -> None:
    """Serve, and tell the director what is going on here."""

    @server.every(REPORT_SECONDS)
    def report() -> None:
        stats = server.stats().cluster
        say(
            "report",
            number=number,
            pid=os.getpid(),
            port=server.addr[1],
            framing=IMPLEMENTATION,
            clients=len(server.local),
            known=len(server),
            received=counts.received,
            delivered=counts.delivered,
            others=0 if stats is None else len(stats.nodes),
            batches=0 if stats is None else stats.batches_out,
            cpu=process_time(),
            at=perf_counter_ns(),
        )

    @server.on("node_leave")
    def lost(node: NodeInfo, clients: list[ClientInfo]) -> None:
        said = {"number": number, "pid": node.pid, "clients": len(clients)}
        say("node_leave", at=perf_counter_ns(), **said)

    server.start()


def main(argument: str) -> None:
    settings = json.loads(argument)
    allow_open_files(settings["players"])
    url = os.environ.get(CLUSTER_VARIABLE)
    cluster = None if url is None else Cluster(url, app=settings["app"])
    server, counts = build(
        settings["port"], settings["host"], workers=settings["workers"], cluster=cluster
    )
    part = assignment()
    if part is None:
        run_parent(server)
    else:
        run_worker(server, counts, part.number)


if __name__ == "__main__":
    main(sys.argv[1])
