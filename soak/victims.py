"""Clients that are killed: a process without the library, so that it starts at once."""

import socket
import sys
import time


def frame(payload: bytes) -> bytes:
    return str(len(payload)).encode().ljust(16) + payload


sockets = []
for number in range(int(sys.argv[2])):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(frame(b'$CLTHELLO${"name": "victim", "group": "group 1"}'))
    for said in range(3):
        sock.sendall(frame(b"$CMD$say$MSG$%d" % said))
    last = frame(b"$CMD$never$MSG$complete")
    sock.sendall(last[: number * 3 % len(last)])
    sockets.append(sock)
time.sleep(3600)
