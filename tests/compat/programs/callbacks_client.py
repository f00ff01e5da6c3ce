import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])))
calls = []


@client.on("worked")
def on_worked(number: int):
    if number == 3:
        raise KeyError("three")
    client.send("work", number + 1)


def callback():
    calls.append("callback")


def error_handler(error: Exception):
    print("error", repr(error))
    client.send("finish")
    client.close(emit_leave=False)


client.send("work", 1)
client.start(callback=callback, error_handler=error_handler)
print("callback", len(calls) >= 2)
print("over")
