"""Noughts and crosses with rematches, for clients with windows: results come as dicts with texts."""

import sys

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])), max_connections=2)
players = {}
again = {}


class Game:
    board = [[" "] * 3 for _ in range(3)]
    turn = 0


def begin():
    Game.board = [[" "] * 3 for _ in range(3)]
    Game.turn = 0
    server.send_all_clients("update_board", {"board": Game.board})
    server.send_client(list(players)[0], "make_move")


@server.on("join")
def join(client):
    if client.name in players:
        server.send_client(client, "join_result", {"worked": False, "message": "name is taken"})
        return
    players[client.name] = "XO"[len(players)]
    server.send_client(client, "join_result", {"worked": True, "message": f"hi {client.name}"})
    server.send_all_clients("client_joined", {"name": client.name, "ip": client.ip_as_str})
    if len(players) == 2:
        begin()


@server.on("made_move")
def made_move(client, move: dict):
    row, column = move["move"]
    Game.board[row][column] = players[client.name]
    server.send_all_clients("update_board", {"board": Game.board})
    Game.turn += 1
    if any(set(line) == {players[client.name]} for line in Game.board):
        print("won by", client.name)
        for name in players:
            server.send_client(
                name, "game_ended", {"reason": f"{client.name} won", "can_go_again": True}
            )
    else:
        server.send_client(list(players)[Game.turn % 2], "make_move")


@server.on("go_again")
def go_again(client, answer: dict):
    again[client.name] = answer["go_again"]
    if len(again) < 2:
        return
    if all(again.values()):
        again.clear()
        begin()
    else:
        print("nobody plays again")
        server.disconnect_all_clients()
        server.close()


print("ready")
server.start()
