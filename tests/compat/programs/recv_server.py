import sys
import time

import hisock

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def on_join(client: hisock.ClientInfo):
    server.send_client(client, "start")


@server.on("*")
def on_wildcard(client: hisock.ClientInfo, command: str, data: str):
    # 2.0.2 loses an answer that comes before recv() waits for it.
    time.sleep(0.2)
    server.send_client(client, "response", f"I heard {command!r} from {client.name}")


print("ready")
server.start()
