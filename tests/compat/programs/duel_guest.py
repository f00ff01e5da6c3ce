import sys
import threading

import hisock

try:
    hisock.client.ThreadedHiSockClient(("127.0.0.1", 1), "early")
except hisock.utils.ServerNotRunning:
    print("no server there")


class Game:
    def __init__(self):
        self.tab = "join"
        self.out = threading.Event()
        self.client = hisock.client.ThreadedHiSockClient(("127.0.0.1", int(sys.argv[1])), "guest")

        @self.client.on("ask_profile")
        def send_profile(other: dict):
            print("against", other["name"])
            self.client.send("client_profile", {"name": self.client.name})

        @self.client.on("server_msg")
        def server_msg(text: str):
            print("server:", text)

        @self.client.on("tab")
        def set_tab(tab: str):
            self.tab = tab
            for number in range(3):
                self.client.send("move", [number, number * 2])

        @self.client.on("force_disconnect")
        def force_disconnect():
            self.out.set()

        self.client.start()


game = Game()
game.out.wait(60)
print("tab", game.tab)
game.client.close()
