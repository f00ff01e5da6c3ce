"""Tic-tac-toe for any number of pairs, and for those who watch.

    python examples/tictactoe.py serve [PORT]
    python examples/tictactoe.py play NAME [PORT]
    python examples/tictactoe.py watch [PORT]

Whoever comes to play waits for the next; each pair has a room of its own. Spectators are in the
rooms of all games: what a game tells its room, they see as well.
"""

from __future__ import annotations

import sys

import msgspec

import hisock
from hisock.routing import Handlers, on

PORT = 5000
LINES = ("012", "345", "678", "036", "147", "258", "048", "246")


class Game(msgspec.Struct):
    number: int
    players: list[str]
    board: str = "." * 9
    turn: int = 0
    over: str = ""

    def put(self, name: str, cell: int) -> None:
        """:raises ValueError: the move is not allowed; its text is for the player."""
        if self.over:
            raise ValueError("the game is over")
        if self.players[self.turn] != name:
            raise ValueError("it is not your turn")
        if cell not in range(9) or self.board[cell] != ".":
            raise ValueError("that is no free cell")
        self.board = self.board[:cell] + "XO"[self.turn] + self.board[cell + 1 :]
        if any({self.board[int(each)] for each in line} == {"XO"[self.turn]} for line in LINES):
            self.over = f"{name} wins"
        elif "." not in self.board:
            self.over = "a draw"
        self.turn = 1 - self.turn


class Table(msgspec.Struct):
    """The session of a client: the game that it plays."""

    game: Game | None = None


class Club(Handlers):
    def __init__(self, server: hisock.HiSockServer[Table]) -> None:
        self.server = server
        self.waiting: hisock.ClientInfo | None = None
        self.games: dict[int, Game] = {}
        self.count = 0

    @on("play")
    def play(self, client: hisock.ClientInfo) -> None:
        if self.waiting is None:
            self.waiting = client
            self.server.send_client(client, "notice", "waiting for somebody")
            return
        self.count += 1
        pair = [self.waiting, client]
        game = Game(self.count, [str(each.name) for each in pair])
        self.waiting, self.games[game.number] = None, game
        for each in (*pair, *self.server.get_room("spectators")):
            self.server.join_room(each, f"game {game.number}")
        for each in pair:
            self.server.session(each).game = game
        self.tell(game)

    @on("watch")
    def watch(self, client: hisock.ClientInfo) -> int:
        self.server.join_room(client, "spectators")
        for number, game in self.games.items():
            self.server.join_room(client, f"game {number}")
            self.server.send_client(client, "game", game)
        return len(self.games)

    @on("put")
    def put(self, client: hisock.ClientInfo, cell: int) -> None:
        game = self.server.session(client).game
        if game is None:
            raise ValueError("you are in no game")
        game.put(str(client.name), cell)
        self.tell(game)

    @on("leave")
    def leave(self, client: hisock.ClientInfo) -> None:
        if self.waiting == client:
            self.waiting = None
        game = self.server.session(client).game
        if game is not None and not game.over:
            game.over = f"{client.name} has left"
            self.tell(game)

    def tell(self, game: Game) -> None:
        self.server.send_room(f"game {game.number}", "game", game)
        if game.over:
            self.games.pop(game.number, None)
            for client in self.server.get_room(f"game {game.number}"):
                self.server.leave_room(client, f"game {game.number}")


def serve(port: int) -> None:
    server = hisock.HiSockServer(("127.0.0.1", port), session=Table, unique_names=True)
    server.include(Club(server))
    print("Listening on port", server.addr[1], flush=True)
    server.start()


def show(game: Game) -> str:
    cells = [str(cell) if mark == "." else mark for cell, mark in enumerate(game.board)]
    rows = ["".join(cells[row : row + 3]) for row in (0, 3, 6)]
    state = game.over or f"{game.players[game.turn]} to move"
    return f"game {game.number}: {' '.join(rows)} {state}"


def play(name: str, port: int) -> None:
    with hisock.connect(("127.0.0.1", port), name) as client:

        @client.on("notice")
        def notice(text: str) -> None:
            print(text, flush=True)

        # A thread, so that the player may think for as long as it takes, and call from here.
        @client.on("game", threaded=True)
        def game(game: Game) -> None:
            print(show(game), flush=True)
            if game.over:
                client.close()
            elif game.players[game.turn] == name:
                move(client)

        client.send("play")
        client.start()


def move(client: hisock.HiSockClient) -> None:
    for line in sys.stdin:
        try:
            client.call("put", int(line))
        except (ValueError, hisock.RemoteError) as refused:
            print(refused, flush=True)
        else:
            return
    client.close()


def watch(port: int) -> None:
    with hisock.connect(("127.0.0.1", port)) as client:

        @client.on("game")
        def game(game: Game) -> None:
            print(show(game), flush=True)

        print(client.call("watch", None, int), "games are on", flush=True)
        client.start()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *port]:
            serve(int(port[0]) if port else PORT)
        case ["play", name, *port]:
            play(name, int(port[0]) if port else PORT)
        case ["watch", *port]:
            watch(int(port[0]) if port else PORT)
        case _:
            sys.exit(__doc__)
