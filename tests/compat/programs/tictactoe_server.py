"""Noughts and crosses. Client info is taken as a dict and kept; its "ip" says whom to send to."""

import sys

import hisock
from hisock.utils import iptup_to_str

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
players = []
board = [" "] * 9


def other(player):
    return players[1 - players.index(player)]


def find(client_info):
    return next(player for player in players if player["ip"] == client_info["ip"])


def winner():
    for a, b, c in LINES:
        if board[a] == board[b] == board[c] != " ":
            return board[a]
    return None


@server.on("join")
def on_join(client_info: dict):
    assert isinstance(client_info, dict)
    assert sorted(client_info) == ["group", "ip", "name"]
    sign = "XO"[len(players)]
    players.append({"name": client_info["name"], "ip": client_info["ip"], "sign": sign})
    address = iptup_to_str(client_info["ip"])
    print(f"{client_info['name']} plays {sign} from {address.split(':')[0]}")
    server.send_client(client_info["ip"], "joined", {"sign": sign, "you_are": address})
    if len(players) == 2:
        server.send_client(players[0]["ip"], "your_turn", board)


@server.on("move")
def on_move(client_info: dict, move: dict):
    player = find(client_info)
    board[move["cell"]] = player["sign"]
    server.send_all_clients("board", {"board": board})
    if winner() or " " not in board:
        server.send_all_clients("over", {"winner": winner()})
        for client in list(players):
            server.disconnect_client(client["ip"])
        print("game over")
    else:
        server.send_client(other(player)["ip"], "your_turn", board)


@server.on("leave")
def on_leave(client_info: dict):
    print("left", client_info["name"])


print("ready")
server.start()
