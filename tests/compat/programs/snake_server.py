"""A game of snakes: a threaded server beside the main loop that moves them and tells all where they are."""

import sys
import time

import hisock

server = hisock.server.ThreadedHiSockServer(("127.0.0.1", int(sys.argv[1])), max_connections=2)


class Snake:
    def __init__(self, address, identifier):
        self.address, self.identifier = address, identifier
        self.pos, self.direction = [0, 0], "right"

    def data(self):
        return {
            "identifier": self.identifier,
            "ip_address": self.address,
            "pos": self.pos,
            "direction": self.direction,
        }


class Game:
    players = []
    left = []


@server.on("join")
def join(client):
    print(f"{client.name} ({hisock.iptup_to_str(client.ip).split(':')[0]}) connected")
    if not client.name or not client.name.isalnum():
        server.disconnect_client(client)
        return
    Game.players.append(Snake(client.ip, f"{client.name}#{len(Game.players)}"))


@server.on("leave")
def leave(client):
    Game.left.append(client.name)


@server.on("request_data")
def tell_all():
    server.send_all_clients(
        "update_data", {"players": [player.data() for player in Game.players], "round": 1}
    )


@server.on("turn")
def turn(client, direction: str):
    for player in Game.players:
        if player.address == client.ip:
            player.direction = direction


server.start()
print("ready")
while len(Game.players) < 2:
    time.sleep(0.005)
server.send_all_clients("game_started")
while len(Game.left) < 2:  # the main loop of the window
    for player in list(Game.players):
        player.pos[0 if player.direction in ("left", "right") else 1] += 1
    try:
        tell_all()
    except RuntimeError:
        pass  # a client left meanwhile, which 2.0.2 does not bear
    time.sleep(0.02)
print("left", sorted(Game.left))
server.close()
print("end")
