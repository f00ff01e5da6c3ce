"""Server and client in one process: neither blocks the main thread, as with Pygame or Tkinter."""

import sys
import threading
import time

import hisock

address = ("127.0.0.1", int(sys.argv[1]))
server = hisock.start_threaded_server(address)
done = threading.Event()
left = threading.Event()


@server.on("join")
def on_join(client):
    pass


@server.on("leave")
def on_leave(client):
    left.set()


@server.on("double")
def on_double(client, number: int):
    server.send_client(client, "doubled", number * 2)


@server.on("think", threaded=True)
def on_think(client, number: int):
    time.sleep(0.2)  # 2.0.2 loses an answer that comes before recv() waits for it
    server.send_client(client, "thought", number * 2)


server.start()
print("server runs")

client = hisock.threaded_connect(address, name="worker")
answers = []


@client.on("doubled")
def on_doubled(number: int):
    answers.append(number)
    if len(answers) == 10:
        done.set()
    else:
        client.send("double", number)


client.start()
client.send("double", 1)

frames = 0
while not done.wait(0.01):  # the main loop of a game
    frames += 1
print("answers", answers)
client.close()
left.wait()
print("client closed")

second = hisock.ThreadedHiSockClient(address)
second.start()
second.send("think", 21)
print("waited for", second.recv("thought", int))
left.clear()
second.close()
left.wait()
server.close()
print("server closed")
