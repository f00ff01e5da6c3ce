"""A server to be killed: it numbers what it is told, and never answers ``wait``.

Argument: port.
"""

import sys
import threading

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])), loop="asyncio")
told: dict[str, list[int]] = {}


@server.on("join")
def join(client: hisock.ClientInfo) -> None:
    print("join", client.name, client.group, flush=True)


@server.on("double")
def double(client: hisock.ClientInfo, number: int) -> int:
    return 2 * number


@server.on("tell")
def tell(client: hisock.ClientInfo, number: int) -> None:
    told.setdefault(client.name or "", []).append(number)


@server.on("told")
def what_was_told(client: hisock.ClientInfo) -> list[int]:
    return told.get(client.name or "", [])


@server.on("who am I")
def who_am_i(client: hisock.ClientInfo) -> list[str | None]:
    return [client.name, client.group]


@server.on("how many")
def how_many(client: hisock.ClientInfo) -> int:
    return len(server)


@server.on("wait", threaded=True)
def wait(client: hisock.ClientInfo) -> None:
    sys.stdout.write("waits\n")  # one write, for several threads
    sys.stdout.flush()
    threading.Event().wait()


print("ready", flush=True)
server.start()
