import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name=sys.argv[2])
cells = [int(digit) for digit in sys.argv[3]]


@client.on("joined")
def on_joined(info: dict):
    mine = hisock.iptup_to_str(client.get_client_addr())
    print("joined as", info["sign"], info["you_are"] == mine)


@client.on("your_turn")
def on_your_turn(board: list):
    cell = cells.pop(0)
    assert board[cell] == " "
    client.send("move", {"cell": cell})


@client.on("board")
def on_board(information: dict):
    print("".join(information["board"]).replace(" ", "."))


@client.on("over")
def on_over(result: dict):
    print("winner", result["winner"])


@client.on("force_disconnect")
def on_force_disconnect():
    print("disconnected")


client.start()
print("end")
