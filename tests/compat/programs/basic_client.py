import sys
import time

from hisock import connect

client = connect(("127.0.0.1", int(sys.argv[1])), name="basic", group="examples")


@client.on("hello_message")
def hello(text: str):
    print("greeted lately", abs(time.time() - float(text)) < 60)
    client.send("processing", b"20+22")


@client.on("something")
def something(total: int):
    print("total", total)
    client.send("thanks")


@client.on("force_disconnect")
def out():
    print("forced out")


client.start()
print("end")
