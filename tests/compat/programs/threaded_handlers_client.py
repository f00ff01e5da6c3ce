import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name="patient")
pongs = 0


@client.on("pong")
def on_pong():
    global pongs
    pongs += 1
    print(f"pong {pongs}")
    client.send("ping" if pongs < 3 else "release")


@client.on("slow_answer", threaded=True)
def on_slow_answer(answer: str):
    print(answer)
    client.close()


client.send("slow", "how long?")
client.send("ping")
client.start()
print("over")
