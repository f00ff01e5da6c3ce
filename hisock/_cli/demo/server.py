"""The game server of the demo: moves go to the room they were made in.

The game itself is the three lines of ``relay``. The rest counts and answers the director.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import dataclass

from hisock import ClientInfo, Cluster, HiSockServer, WebSocket
from hisock._cli.demo.control import allow_open_files, listen, say
from hisock._cli.demo.visitors import Visitors
from hisock._runtime import heap
from hisock.framing import IMPLEMENTATION


@dataclass
class Counts:
    """What the server has seen since it started.

    :ivar received: moves that players sent.
    :ivar delivered: copies of moves handed to the connections of a room.
    """

    received: int = 0
    delivered: int = 0


def build(
    port: int,
    host: str = "127.0.0.1",
    web: bool = False,
    workers: int | None = None,
    cluster: Cluster | None = None,
) -> tuple[HiSockServer, Counts]:
    """A game server, listening but not started.

    :param web: whether it takes WebSockets as well, and visitors.
    :param workers: how many processes run it; ``None`` is this one.
    :param cluster: what joins them, in place of Unix sockets.
    """
    # The page comes from another port, and there is nothing here that it could steal.
    websocket = WebSocket(origins="*") if web else None
    # Players do not look at who else comes and goes, so nobody is told.
    server = HiSockServer(
        (host, port), announce="none", websocket=websocket, workers=workers, cluster=cluster
    )
    if web:
        Visitors(server)
    counts = Counts()

    @server.on("move")
    def relay(player: ClientInfo, move: bytes) -> None:
        counts.received += 1
        counts.delivered += server.send_group(player, "move", move)

    return server, counts


def serve(server: HiSockServer, counts: Counts) -> None:
    """Run the server until the director says ``leave``."""

    def obey(word: str) -> None:
        if word == "leave":
            server.close()
        elif word == "counts":
            say(
                "counts",
                clients=len(server),
                received=counts.received,
                delivered=counts.delivered,
                cpu=time.process_time(),
            )

    say("ready", port=server.addr[1], framing=IMPLEMENTATION)
    listen(obey)
    heap.freeze()
    with contextlib.suppress(KeyboardInterrupt):  # the director tells how it ended
        server.start()


def main(argument: str) -> None:
    settings = json.loads(argument)
    allow_open_files(settings["players"])
    serve(*build(settings["port"], settings["host"], settings["web"]))


if __name__ == "__main__":
    main(sys.argv[1])
