"""A server that is ended by a signal. Argument: the port, 0 for a free one."""

import sys

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("send me a lot")
def on_send(client):
    server.send_client(client, "ready")
    for _ in range(20):
        server.send_client(client, "lot", b"x" * 100_000)


print("port", server.addr[1])
try:
    server.start()
    print("after start")
except KeyboardInterrupt:
    print("interrupted", server.closed)
