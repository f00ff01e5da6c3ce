"""A server whose network goes away: its clients can neither answer nor say goodbye.

Runs in a network namespace of its own, and prints what the server made of it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import threading
from typing import Any

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
CLIENTS = 5


def new_network() -> None:
    """Leave the network of this machine for an empty one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        print(f"skip: {os.strerror(ctypes.get_errno())}")
        sys.exit()


def loopback(up: bool) -> None:
    """Switch the only interface on or off."""
    with socket.socket() as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


def connect(addr: tuple[str, int], name: str) -> socket.socket:
    sock = socket.create_connection(addr)
    hello = b"$CLTHELLO$" + json.dumps({"name": name, "group": None}).encode()
    sock.sendall(str(len(hello)).encode().ljust(16) + hello)
    return sock


def main() -> None:
    new_network()
    loopback(up=True)
    import hisock  # not before: it must not have started a thread

    joined = threading.Semaphore(0)
    left = threading.Semaphore(0)
    loop: Any = sys.argv[1]
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0), keepalive_interval=0.2, keepalive_timeout=0.5, loop=loop
    )
    server.on("join")(lambda client: joined.release())
    server.on("leave")(lambda client: left.release())
    server.start()
    clients = [connect(server.addr, f"client {number}") for number in range(CLIENTS)]
    for _ in clients:
        assert joined.acquire(timeout=10)
    loopback(up=False)
    for client in clients:
        client.close()  # what this says reaches nobody
    for _ in clients:
        assert left.acquire(timeout=10)
    print(f"left: {server.stats().ended}")
    # They are gone for good, not only from the list, although no packet of theirs ever came.
    deadline = threading.Event()
    for _ in range(500):
        if not server.stats().connections:
            break
        deadline.wait(0.01)
    print(f"connections: {server.stats().connections}")
    loopback(up=True)
    connect(server.addr, "afterwards")
    assert joined.acquire(timeout=10)
    print("serves again")
    server.close()


if __name__ == "__main__":
    main()
