import sys

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))
handled = []


@server.on("join")
def on_join(client):
    pass


@server.on("work")
def on_work(client, number: int):
    handled.append(number)
    server.send_client(client, "worked", number)


@server.on("finish")
def on_finish(client):
    server.disconnect_client(client)
    server.close()


def callback():
    handled.append("callback")


def error_handler(error):
    print("error", type(error).__name__)


print("ready")
server.start(callback=callback, error_handler=error_handler)
print("handled", [entry for entry in handled if entry != "callback"])
print("callback", "callback" in handled)
