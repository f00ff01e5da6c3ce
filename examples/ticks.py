"""A game of ticks: the server moves the world twenty times a second, players see the newest state.

    python examples/ticks.py

``latest="world"`` keeps a slow player from piling up old states: it gets the newest one.
The player's own loop is what it would be with pygame; only the drawing is missing.
"""

import time

import msgspec

import hisock

TICKS_PER_SECOND = 20
FRAMES_PER_SECOND = 60


class Ship(msgspec.Struct):
    x: float = 0.0
    speed: float = 0.0


server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), session=Ship)


@server.on("throttle")
def throttle(client: hisock.ClientInfo, speed: float) -> None:
    server.session(client).speed = speed


@server.every(1 / TICKS_PER_SECOND)
def tick(dt: float) -> None:
    world = {}
    for client in server.get_all_clients():
        ship = server.session(client)
        ship.x += ship.speed * dt
        world[client.name] = ship
    server.send_all_clients("world", world, latest="world")


def play(client: hisock.HiSockClient, distance: float) -> float:
    """The player's loop: once a frame, handle what has come; until the ship is far enough."""
    ship = Ship()

    @client.on("world")
    def world(ships: dict[str, Ship]) -> None:
        nonlocal ship
        ship = ships["Ada"]

    client.send("throttle", 10.0)
    while ship.x < distance:
        client.update()
        # draw(ship)
        time.sleep(1 / FRAMES_PER_SECOND)
    return ship.x


with server:
    server.start()
    with hisock.connect(server.addr, "Ada") as client:
        print(f"Ada's ship has flown {play(client, 5.0):.1f}", flush=True)
    print("ticks skipped:", server.stats().ticks["tick"].skipped, flush=True)
