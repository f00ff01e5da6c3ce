"""A client that comes back when its server does, and sends then what it could not send before.

    python examples/reconnecting.py

The connection is lost here because the server cuts it; a crash looks the same to the client.
"""

import threading

import hisock

server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
received = threading.Event()


@server.on("join")
def join(client: hisock.ClientInfo) -> None:
    print(f"{client.name} is here", flush=True)


@server.on("note")
def note(client: hisock.ClientInfo, text: str) -> None:
    print(f"{client.name}: {text}", flush=True)
    received.set()


@server.on("cut")
def cut(client: hisock.ClientInfo) -> None:
    server.disconnect_client(client, force=True)


with server:
    server.start()
    client = hisock.threaded_connect(
        server.addr,
        "Ada",
        reconnect=hisock.Reconnect(initial=0.1, maximum=5),
        offline_buffer=64 * 1024,
    )

    @client.on("disconnect")
    def disconnected(reason: str) -> None:
        print("The connection is lost", flush=True)
        client.send("note", "written while there was no connection")

    with client:
        client.start()
        client.change_name("Countess Ada")
        client.send("cut")
        received.wait(10)
