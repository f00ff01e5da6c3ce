import sys

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def on_join(client: hisock.ClientInfo):
    print(f"{client.name} joined")


@server.on("leave")
def on_leave(client: hisock.ClientInfo):
    print(f"{client.name} left")


@server.on("*")
def on_wildcard(client: hisock.ClientInfo, command: str, data: str):
    print(f"There was some unhandled data from {client.name}. {command=}, {data=}")
    server.send_client(client, "i am also an uncaught command", data.replace("a", "ඞ"))


print("ready")
server.start()
