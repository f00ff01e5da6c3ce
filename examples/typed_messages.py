"""Messages with a type: described once, checked on arrival.

python examples/typed_messages.py
"""

from typing import Literal

import msgspec

import hisock


class Move(msgspec.Struct):
    direction: Literal["north", "east", "south", "west"]
    steps: int = 1


class Place(msgspec.Struct):
    x: int
    y: int


STEP = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}

server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
places: dict[str, Place] = {}


@server.on("move")
def move(client: hisock.ClientInfo, move: Move) -> None:
    place = places.setdefault(client.ip, Place(0, 0))
    dx, dy = STEP[move.direction]
    place.x += dx * move.steps
    place.y += dy * move.steps
    server.send_client(client, "place", place)


def refused(error: Exception) -> None:
    print("refused:", error, flush=True)


with server:
    server.start(error_handler=refused)
    with hisock.connect(server.addr, name="Ada") as ada:
        ada.send("move", Move("north", 3))
        print(ada.recv("place", Place, timeout=5), flush=True)

        # Anything of the right shape will do, here a dict. This one has the wrong shape: the
        # handler is not called, the connection stays.
        ada.send("move", {"direction": "up"})
        ada.send("move", {"direction": "west"})
        print(ada.recv("place", Place, timeout=5), flush=True)
