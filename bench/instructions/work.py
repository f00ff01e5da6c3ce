"""What is counted. Runs under callgrind, started by counting.py.

Each piece of work is done n times and then 2n times. The difference of the two, by n, is the cost
of one: what surrounds the work drops out.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from hisock import ClientInfo, HiSockServer, framing
from hisock._core import call_frames
from hisock._runtime import turns, watchdog
from hisock.routing import Context

from .joins import Joins
from .marks import Marks

SIZE = 64
BATCH = 100
#: So many a read that they are handled by compiled code, not one by one.
MANY = 512
ROOM = 20
HELLO = b"$CLTHELLO$" + json.dumps({"name": None, "group": "room", "features": ["call"]}).encode()


def parse(n: int) -> None:
    """n frames of 64 B, a hundred at a time."""
    decoder = framing.Decoder()
    stream = framing.build_command("move", b"x" * SIZE) * BATCH
    for _ in range(n // BATCH):
        decoder.feed(stream)


def parse_single(n: int) -> None:
    """n frames of 64 B, each in a piece of its own."""
    decoder = framing.Decoder()
    frame = framing.build_command("move", b"x" * SIZE)
    feed = decoder.feed
    for _ in range(n):
        feed(frame)


def build(n: int) -> None:
    """n frames of 64 B."""
    message = b"x" * SIZE
    build_command = framing.build_command
    for _ in range(n):
        build_command("move", message)


class Move(msgspec.Struct):
    """What a player sends, 63 bytes of JSON."""

    player: str
    x: float
    y: float
    speed: float
    turning: bool


def register(server: HiSockServer, name: str) -> None:
    """The handler that is counted."""

    @server.on("dispatch")
    def dispatch(client: ClientInfo, message: bytes) -> None:
        server.send_client(client, "echo", message)

    @server.on("relay")
    def relay(client: ClientInfo, message: bytes) -> None:
        server.send_group(client, "move", message)

    @server.on("typed")
    def typed(client: ClientInfo, move: Move) -> None:
        server.send_client(client, "typed", move)

    @server.on("typed_batched")
    def typed_batched(client: ClientInfo, move: Move) -> None:
        server.send_client(client, "typed_batched", move)

    @server.on("plain")
    def plain(client: ClientInfo, move: dict[str, Any]) -> None:
        server.send_client(client, "plain", move)

    @server.on("async")
    async def at_once(client: ClientInfo, message: bytes) -> None:
        server.send_client(client, "async", message)

    @server.on("sleeping")
    async def sleeping(client: ClientInfo, message: bytes) -> None:
        await asyncio.sleep(0)
        server.send_client(client, "sleeping", message)

    @server.on("call")
    def call(client: ClientInfo, message: bytes) -> bytes:
        return message

    @server.on("wrapped")
    def wrapped(client: ClientInfo, message: bytes) -> None:
        server.send_client(client, "wrapped", message)

    if name == "wrapped":

        @server.middleware
        def around(context: Context) -> Generator[None, None, None]:
            yield


class Dispatch:
    """A server and its clients in one thread, so that nothing depends on who runs when.

    The clients' frames wait in the kernel; the handler of the last one of a batch reads what came
    back so far and sends the next batch.
    """

    def __init__(
        self,
        marks: Marks,
        name: str,
        clients: int,
        n: int,
        message: bytes = b"x" * SIZE,
        batch: int = BATCH,
    ) -> None:
        self.marks = marks
        self.name = name
        self.server = HiSockServer(
            ("127.0.0.1", 0), keepalive=False, announce="none", loop="asyncio"
        )
        if name == "call":
            call = call_frames.Call(1, name, message)
            self.batch = call_frames.build_call(call, self.server.header_len) * batch
        else:
            self.batch = framing.build_command(name, message) * batch
        # What runs in threads has ended when the last has; all else is handled in order.
        self.ended = 0
        if name != "threaded":
            self.batch += framing.build_command("done")
        self.rounds = n // batch
        self.plan = [3, self.rounds, 2 * self.rounds]  # warm-up, n, 2n
        self.left = 0
        self.members = clients
        self.joined = 0
        self.clients: list[socket.socket] = []

    def run(self) -> None:
        server = self.server

        register(server, self.name)

        if self.name == "threaded":

            @server.on("threaded", threaded=True)
            def threaded(client: ClientInfo, message: bytes) -> None:
                server.send_client(client, "threaded", message)
                self.ended += 1
                if self.ended % BATCH == 0:
                    self.next_batch()

        @server.on("done")
        def done(client: ClientInfo) -> None:
            self.next_batch()

        @server.on("join")
        def join(client: ClientInfo) -> None:
            self.joined += 1
            if self.joined == self.members:
                self.next_phase()

        for _ in range(self.members):
            client = socket.create_connection(server.addr)
            client.setblocking(False)
            client.sendall(framing.build_raw(HELLO))
            self.clients.append(client)
        server.start()
        for client in self.clients:
            client.close()

    def next_phase(self) -> None:
        if not self.plan:
            self.server.close()
            return
        self.left = self.plan.pop(0)
        self.marks.zero()
        self.send()

    def next_batch(self) -> None:
        self.left -= 1
        for client in self.clients:
            try:
                while client.recv(262144):
                    pass
            except BlockingIOError:
                pass
        if self.left:
            self.send()
            return
        if len(self.plan) < 2:
            self.marks.dump(f"{self.name} {2 if not self.plan else 1}")
        self.next_phase()

    def send(self) -> None:
        self.clients[0].sendall(self.batch)


class Alone(Dispatch):
    """The same with one frame a read: the handler of each sends the next one."""

    def __init__(self, marks: Marks, n: int) -> None:
        super().__init__(marks, "alone", 1, n)
        self.batch = framing.build_command("alone", b"x" * SIZE)
        self.plan = [3 * BATCH, n, 2 * n]

        @self.server.on("alone")
        def alone(client: ClientInfo, message: bytes) -> None:
            self.server.send_client(client, "alone", message)
            self.next_batch()

    def next_batch(self) -> None:
        if self.left % BATCH == 1:
            super().next_batch()  # which reads what came back
        else:
            self.left -= 1
            self.send()


def main(library: str) -> None:
    marks = Marks(library)
    gc.disable()  # when it runs depends on all that was allocated before
    # What happens by the clock would count some 50 times too much: callgrind is that slow.
    watchdog.INTERVAL = turns.MOST_SECONDS = 3600.0
    loops: list[tuple[Callable[[int], None], int]] = [
        (parse, 5000),
        (parse_single, 5000),
        (build, 5000),
    ]
    for work, n in loops:
        work(n // 5)
        for times in (1, 2):
            with marks.counted(f"{work.__name__} {times}"):
                work(n * times)
    Dispatch(marks, "dispatch", 1, 2000).run()
    Alone(marks, 1000).run()
    Dispatch(marks, "relay", ROOM, 1000).run()
    move = msgspec.json.encode(Move("Ada", 12.25, 17.5, 3.75, True))
    for name in ("typed", "plain"):
        Dispatch(marks, name, 1, 2000, move).run()
    Dispatch(marks, "typed_batched", 1, 16 * MANY, move, MANY).run()
    for name in ("async", "sleeping", "threaded", "call", "wrapped"):
        Dispatch(marks, name, 1, 1000).run()
    Joins(marks).run()


if __name__ == "__main__":
    main(sys.argv[1])
