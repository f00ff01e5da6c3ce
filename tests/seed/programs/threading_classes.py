"""Server and client in one process: neither blocks the main thread, as with Pygame or Tkinter."""

import sys
import threading

import hisock

address = ("127.0.0.1", int(sys.argv[1]))
server = hisock.start_threaded_server(address)
done = threading.Event()


@server.on("join")
def on_join(client):
    pass


@server.on("double")
def on_double(client, number: int):
    server.send_client(client, "doubled", number * 2)


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
print("client closed")

second = hisock.ThreadedHiSockClient(address)
second.start()
second.send("double", 21)
print("waited for", second.recv("doubled", int))
second.close()
server.close()
print("server closed")
