import sys
import threading

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))
release = threading.Event()


@server.on("join")
def on_join(client: hisock.ClientInfo):
    pass


@server.on("slow", threaded=True)
def on_slow(client: hisock.ClientInfo, question: str):
    release.wait()
    server.send_client(client, "slow_answer", f"finally: {question}")


@server.on("ping")
def on_ping(client: hisock.ClientInfo):
    server.send_client(client, "pong")


@server.on("release")
def on_release():
    release.set()


print("ready")
server.start()
