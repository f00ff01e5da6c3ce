import sys

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def on_join(client: hisock.ClientInfo):
    print(f"{client.name} joined")


@server.on("leave", override=True)
def on_leave(client: hisock.ClientInfo, reason: str):
    print(f"{client.name} left because {reason}")
    server.disconnect_client(client, force=True)


@server.on("ask")
def on_ask(client: hisock.ClientInfo):
    server.send_client(client, "say_why")


print("ready")
server.run()
