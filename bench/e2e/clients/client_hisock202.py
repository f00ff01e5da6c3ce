# mypy: disable-error-code="import-not-found, attr-defined, no-untyped-def"
"""The client of hisock 2.0.2 as published. Usage: client_hisock202.py ROLE"""

from common import BATCH, MESSAGE, PORT, ROLE, ready

from hisock.client import HiSockClient  # 2.0.2 when it runs; a type checker sees this tree

ready("hisock")
client = HiSockClient(("127.0.0.1", PORT))
count = 0


def received(message: bytes) -> None:
    global count
    count += 1
    if count == BATCH:
        count = 0
        client.send("echo", MESSAGE)


def sent(message: bytes) -> None:
    for _ in range(BATCH):
        client.send("echo", MESSAGE)


def reply(message: bytes) -> None:
    client.send("echo", message)


client.on("echo")({"received": received, "sent": sent}.get(ROLE, reply))
if ROLE == "roundtrip":
    client.send("echo", MESSAGE)
client.start()
