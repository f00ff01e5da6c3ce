"""What type checkers have to refuse, each line that ends in "wrong"; none of it is ever run."""

from __future__ import annotations

import hisock

server = hisock.HiSockServer(("127.0.0.1", 5000))
client = hisock.connect(("127.0.0.1", 5000))


@server.on("double")
def double(client: hisock.ClientInfo, number: int) -> int:
    return 2 * number


double(server.get_client("Ada"), "two")  # wrong
text: str = double(server.get_client("Ada"), 2)  # wrong
text = client.recv("x", int)  # wrong
text = client.recv("x")  # wrong
text = client.call("x", None, int)  # wrong
text = client.call("x")  # wrong
text = server.call_blocking("Ada", "x", None, int)  # wrong
client.recv(5)  # wrong
client.call()  # wrong
client.call("x", timeout="soon")  # wrong
server.send_client(5, "x")  # wrong
server.send_room("lobby")  # wrong
server.send_all_clients("x", latest=5)  # wrong
server.every("often")  # wrong
hisock.Reconnect(initial="soon")  # wrong
hisock.HiSockServer(("127.0.0.1", 5000), announce="some")  # wrong
hisock.HiSockServer(None, session=list).session("Ada").upper()  # wrong
hisock.HiSockServer(None, session=5)  # wrong
hisock.HiSockServer(("127.0.0.1", 5000), no_such_option=1)  # wrong
hisock.start_server(("127.0.0.1", 5000), max_conections=5)  # wrong
hisock.start_server(("127.0.0.1", 5000), max_connections="five")  # wrong
hisock.start_server()  # wrong
hisock.start_threaded_server(("127.0.0.1", 5000), on_slow="wait")  # wrong
hisock.start_threaded_server(("127.0.0.1", 5000), keepalive_intervall=5)  # wrong
hisock.connect(("127.0.0.1", 5000), reconect=True)  # wrong
hisock.threaded_connect(("127.0.0.1", 5000), reconect=True)  # wrong
hisock.async_connect(("127.0.0.1", 5000), reconect=True)  # wrong


async def use(one: hisock.AsyncHiSockClient) -> None:
    (await server.call("Ada", "x", None, int)).upper()  # wrong
    (await server.wait_for("x", int)).upper()  # wrong
    (await one.recv("x", int)).upper()  # wrong
    (await one.call("x", None, int)).upper()  # wrong
    one.call("x", None, str).upper()  # wrong
    for _ in one:  # wrong
        pass
