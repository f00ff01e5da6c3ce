"""Pairs clients up. Client info is kept in lists and compared."""

import sys

import hisock

server = hisock.HiSockServer(("127.0.0.1", int(sys.argv[1])))
pairs = []


def find(client):
    for pair in pairs:
        if client in pair:
            return pair
    return None


@server.on("join")
def on_join(clt_data):
    if pairs and len(pairs[-1]) == 1:
        pairs[-1].append(clt_data)
        first, last = pairs[-1]
        server.send_client(first, "start", {"turn": "first", "opponent": last.name})
        server.send_client(last, "start", {"turn": "last", "opponent": first.name})
    else:
        pairs.append([clt_data])
    print("players", len(server.clients), "paired", len(find(clt_data)) == 2)


@server.on("turn_made")
def on_turn_made(clt_data, move: dict):
    pair = find(clt_data)
    opponent = pair[not pair.index(clt_data)]
    if move["column"] == 3:
        server.send_client(clt_data, "win")
        server.send_client(opponent, "lose")
    else:
        server.send_client(opponent, "new_move", {"column": move["column"]})


@server.on("player_exit")
def on_player_exit(clt_data):
    for client in list(find(clt_data)):
        server.disconnect_client(client)
    pairs.clear()
    print("pair ended")


@server.on("leave")
def on_leave(clt_data):
    print("left", clt_data.name)


print("ready")
server.start()
