"""A game server with a fault, run by the demo in place of the real one.

``HISOCK_DEMO_FAULT`` says which: the tenth move is lost (``drop``), sent twice (``repeat``) or sent
to another room (``stray``), the player who makes it is disconnected (``kick``), or the server gives
up at it (``crash``).
"""

from __future__ import annotations

import json
import os
import sys

from hisock import ClientInfo
from hisock._cli.demo.server import build, serve


def main(settings: dict[str, int], fault: str) -> None:
    server, counts = build(settings["port"])

    @server.on("move")
    def relay(player: ClientInfo, move: bytes) -> None:
        counts.received += 1
        if counts.received == 10:
            if fault == "crash":
                sys.stderr.write("the server gives up\n")
                sys.stderr.flush()
                os._exit(3)
            if fault == "drop":
                return
            if fault == "kick":
                server.disconnect_client(player, force=True)
                return
            if fault == "repeat":
                server.send_group(player, "move", move)
            if fault == "stray":
                other = "room-1" if player.group != "room-1" else "room-0"
                server.send_group(other, "move", move)
        counts.delivered += server.send_group(player, "move", move)

    serve(server, counts)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), os.environ["HISOCK_DEMO_FAULT"])
