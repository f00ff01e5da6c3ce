"""Clients that join and leave, counted like the work in work.py."""

from __future__ import annotations

import logging
import socket

from hisock import ClientInfo, HiSockServer, framing

from .marks import Marks

N = 100
"""Clients of the first run; as in counting.py."""
HELLO = framing.build_raw(
    b'$CLTHELLO${"name": "Ada", "group": "room", "features": ["call", "reject", "errors"]}'
)


class Joins:
    """A server and its clients in one thread; these connect and say hello uncounted.

    The kernel's backlog holds them meanwhile. Joining and leaving are counted apart; the name of
    the mark says which, and whether it was once or twice as many.
    """

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.server = HiSockServer(
            ("127.0.0.1", 0), keepalive=False, announce="none", loop="asyncio"
        )
        self.plan = [N, N, 2 * N]  # warm-up, n, 2n
        self.there = 0
        self.clients: list[socket.socket] = []

    def run(self) -> None:
        server = self.server

        @server.on("join")
        def join(client: ClientInfo) -> None:
            self.there += 1
            if self.there == len(self.clients):
                self.leave()

        @server.on("leave")
        def leave(client: ClientInfo) -> None:
            self.there -= 1
            if not self.there:
                self.dump("leave")
                self.join()

        # How many lines are logged depends on the time, which callgrind stretches.
        logging.getLogger("hisock.server").setLevel(logging.CRITICAL)
        self.join()
        server.start()

    def join(self) -> None:
        if not self.plan:
            self.server.close()
            return
        self.clients = [self.connect() for _ in range(self.plan.pop(0))]
        self.marks.zero()

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.server.addr)
        client.sendall(HELLO)
        return client

    def leave(self) -> None:
        self.dump("join")
        for client in self.clients:
            client.close()
        self.marks.zero()

    def dump(self, name: str) -> None:
        if len(self.plan) < 2:
            self.marks.dump(f"{name} {2 if not self.plan else 1}")
