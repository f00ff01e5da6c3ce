"""Pings, timers that run in threads, and a server that waits for an answer with recv."""

import sys
import threading
import time

import hisock

server = hisock.ThreadedHiSockServer(("127.0.0.1", int(sys.argv[1])))
finished = threading.Event()


@server.on("join")
def on_join(client):
    pass


@server.on("ping", threaded=True)
def on_ping(client):
    time.sleep(0.1)  # 2.0.2 loses an answer that comes before recv() waits for it
    server.send_client(client.ip, "pong")


@server.on("set_timer", threaded=True)
def on_set_timer(client, seconds: float):
    time.sleep(seconds)
    server.send_client(client.ip, "timer_done", seconds)


@server.on("interview", threaded=True)
def on_interview(client):
    server.send_client(client, "question", "how old are you?")
    age = server.recv("answer", int)
    time.sleep(0.1)
    server.send_client(client, "verdict", {"age": age, "adult": age >= 18})


@server.on("leave")
def on_leave(client):
    print("left", client.name)
    finished.set()


server.start()
print("ready")
finished.wait()
server.close()
print("closed")
