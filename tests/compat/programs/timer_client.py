import sys
import time

import hisock

client = hisock.ThreadedHiSockClient(("127.0.0.1", int(sys.argv[1])), name="timed")


@client.on("question", threaded=True)
def on_question(question: str):
    print("asked", question)
    time.sleep(0.1)
    client.send("answer", 42)


client.start()
client.send("ping")
print("pong", client.recv("pong"))
client.send("set_timer", 0.5)
client.send("ping")
client.recv("pong")
print("ponged before the timer")
print("timer", client.recv("timer_done", recv_as=float))
client.send("interview")
print("verdict", client.recv("verdict", dict))
client.close()
print("over")
