import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), sys.argv[2], None, cache_size=3)
column = 0


@client.on("start")
def on_start(game: dict):
    print("start", game["turn"], game["opponent"])
    if game["turn"] == "first":
        client.send("turn_made", {"column": 0})


@client.on("new_move")
def on_new_move(move: dict):
    print("opponent", move["column"])
    client.send("turn_made", {"column": move["column"] + 1})


@client.on("win")
def on_win():
    print("win")


@client.on("lose")
def on_lose():
    print("lose")
    client.send("player_exit")


@client.on("force_disconnect")
def on_force_disconnect():
    print("cache", [(member.command, member.called) for member in client.get_cache()][-2:])
    print("forced out")


client.start()
print("end")
