"""A game that hosts itself: the server runs in the first player's program, as one object of the game."""

import sys
import threading

import hisock


class Game:
    def __init__(self):
        self.server = hisock.server.ThreadedHiSockServer(("127.0.0.1", int(sys.argv[1])))
        self.moves = []
        self.done = threading.Event()
        self.broadcast("started")  # to nobody yet

        @self.server.on("join")
        def on_join(client: hisock.utils.ClientInfo):
            self.server.send_client(client, "ask_profile", {"name": "host"})
            self.broadcast(f"{client.name} connected ({len(self.server.get_all_clients())}/1)")
            self.server.send_all_clients("tab", "starting")

        @self.server.on("client_profile")
        def on_profile(client: hisock.utils.ClientInfo, profile: dict):
            print("profile", profile)

        @self.server.on("move")
        def on_move(client: hisock.utils.ClientInfo, move: list):
            self.moves.append(move)
            if len(self.moves) == 3:
                self.done.set()

        @self.server.on("leave")
        def on_leave(client: hisock.utils.ClientInfo):
            pass

        self.server.start()

    def broadcast(self, text: str):
        self.server.send_all_clients("server_msg", text)


game = Game()
print("ready")
game.done.wait(60)
print("moves", game.moves)
try:
    game.server.close()
except RuntimeError as error:  # 2.0.2, if a client leaves while it tells all of them
    assert "dictionary changed size" in str(error), error
print("end")
