"""The first example of 2.0.2: greet each one who joins, then work something out for it."""

import sys
import time

from hisock import ClientInfo, start_server

server = start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def on_join(client: ClientInfo):
    print(f"{client.name} of {client.group}, ip {client.ip_as_str.split(':')[0]}")
    server.send_client(client, "hello_message", str(time.time()).encode())


@server.on("processing")
def process(client: ClientInfo, request: str):
    total = sum(int(number) for number in request.split("+"))
    print("asked for", request)
    server.send_client(client, "something", str(total))


@server.on("thanks")
def thanks(client: ClientInfo):
    server.disconnect_client(client, call_func=True)


@server.on("leave")
def leave(client: ClientInfo):
    print("left", client.name)
    server.close()


print("ready")
server.start()
print("closed")
