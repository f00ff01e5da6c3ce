"""The network part of a client with a window: handlers set what the frames of the window show."""

import sys
import threading
import time

import hisock
from hisock.utils import ipstr_to_tup

name, row = sys.argv[2], int(sys.argv[3])
client = hisock.client.ThreadedHiSockClient(ipstr_to_tup(f"127.0.0.1:{sys.argv[1]}"), name)


class State:
    board = None
    our_turn = False
    game_over = None
    out = threading.Event()


@client.on("join_result")
def join_result(info: dict):
    print(info["worked"], info["message"])


@client.on("client_joined")
def client_joined(info: dict):
    print(info["name"], "joined")


@client.on("update_board")
def update_board(info: dict):
    State.board = info["board"]


@client.on("make_move")
def make_move(_: bytes):
    State.our_turn = True


@client.on("game_ended")
def game_ended(info: dict):
    State.game_over = info


@client.on("force_disconnect")
def force_disconnect():
    State.out.set()


client.start()
column = games = 0
while not State.out.is_set():  # a frame of the window
    if State.game_over:
        print(State.game_over["reason"])
        games += 1
        client.send("go_again", {"go_again": games < 2})
        State.game_over, column = None, 0
    elif State.our_turn:
        State.our_turn = False
        client.send("made_move", {"move": (row, column)})
        column += 1
    time.sleep(0.005)
print("end")
