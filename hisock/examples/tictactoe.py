"""Tic-tac-toe for two, in a terminal: ``python -m hisock.examples.tictactoe``.

One terminal hosts, two connect. With arguments nothing is asked: ``host PORT``, or
``connect PORT NAME``. It uses nothing that 2.0.2 does not have.
"""

import sys
from typing import Any

import hisock

LINES = ("012", "345", "678", "036", "147", "258", "048", "246")


def winner(board: str) -> str:
    """The mark that fills a line, ``-`` for a full board, nothing while the game goes on."""
    for line in LINES:
        marks = {board[int(cell)] for cell in line}
        if len(marks) == 1 and marks != {"."}:
            return marks.pop()
    return "" if "." in board else "-"


def host(port: int) -> None:
    """Let two players play one game, then end."""
    server = hisock.start_server(("127.0.0.1", port))
    players: list[str] = []
    game: dict[str, Any] = {"board": "." * 9, "turn": 0}

    @server.on("join")
    def join(client: hisock.utils.ClientInfo) -> None:
        players.append(client.name or "somebody")
        server.send_client(client, "mark", "XO"[len(players) - 1])
        if len(players) == 2:
            tell()

    @server.on("put")
    def put(client: hisock.utils.ClientInfo, cell: int) -> None:
        board, turn = game["board"], game["turn"]
        if len(players) < 2 or client.name != players[turn] or cell not in range(9):
            return
        if board[cell] != ".":
            tell()
            return
        game["board"] = board[:cell] + "XO"[turn] + board[cell + 1 :]
        game["turn"] = 1 - turn
        tell()

    def tell() -> None:
        board = game["board"]
        state = {"board": board, "turn": "XO"[game["turn"]], "winner": winner(board)}
        server.send_all_clients("state", state)

    left: list[str] = []

    @server.on("leave")
    def leave(client: hisock.utils.ClientInfo) -> None:
        left.append(client.name or "somebody")
        if len(left) == 2:
            server.close()

    print("hosting on port", server.addr[1], flush=True)
    server.start()


def show(board: str) -> str:
    """The board in three lines, free cells by their numbers."""
    cells = [str(i) if mark == "." else mark for i, mark in enumerate(board)]
    return "\n".join(" ".join(cells[row : row + 3]) for row in (0, 3, 6))


def connect(port: int, name: str) -> None:
    """Play one game."""
    client = hisock.connect(("127.0.0.1", port), name)
    mine = {"mark": ""}

    @client.on("mark")
    def mark(which: str) -> None:
        mine["mark"] = which
        print("you are", which, flush=True)

    @client.on("state")
    def state(game: dict) -> None:  # type: ignore[type-arg]
        print(show(game["board"]), flush=True)
        if game["winner"]:
            print({"-": "a draw", mine["mark"]: "you win"}.get(game["winner"], "you lose"))
            client.close()
        elif game["turn"] == mine["mark"]:
            client.send("put", ask())

    client.start()


def ask() -> int:
    """A cell from the terminal."""
    while True:
        answer = input("your move (0-8): ")
        if answer in tuple("012345678"):
            return int(answer)
        print("a number from 0 to 8")


def main() -> None:
    words = sys.argv[1:] or [input("host or connect? ")]
    if words[0].startswith("h"):
        host(int(words[1]) if words[1:] else int(input("port: ")))
    else:
        port = int(words[1]) if words[1:] else int(input("port: "))
        connect(port, words[2] if words[2:] else input("your name: "))


if __name__ == "__main__":
    main()
