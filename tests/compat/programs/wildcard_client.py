import sys
from random import choice, randint

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name="sus")

client.send(
    "hello i am an uncaught command",
    f"Random data: "
    + "".join([chr(choice((randint(65, 90), randint(97, 122)))) for _ in range(100)]),
)


@client.on("client_connect")
def on_connect(client: hisock.ClientInfo):
    print(f"{client.name} connected")


@client.on("client_disconnect")
def on_disconnect(client: hisock.ClientInfo):
    print(f"{client.name} disconnected")


@client.on("*")
def on_wildcard(command: str, data: str):
    print(f"The server sent some uncaught data: {command=}, {data=}")
    client.close()


client.start()
print("over")
