"""Clients that are in the middle of a frame, one at each byte of it, until somebody kills them."""

import socket
import sys
import time

HELLO = b'$CLTHELLO${"name": "half", "group": null}'
FRAME = b"$CMD$whole$MSG$never complete"


def frame(payload: bytes) -> bytes:
    return str(len(payload)).encode().ljust(16) + payload


port = int(sys.argv[1])
sockets = []
last = frame(FRAME)
for cut in range(len(last)):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(frame(HELLO) + frame(b"$CMD$before$MSG$%d" % cut) + last[:cut])
    sockets.append(sock)
print(len(sockets), flush=True)
time.sleep(600)
