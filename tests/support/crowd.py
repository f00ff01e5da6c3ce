"""Many well-behaved clients, each of which counts, and notices when anything is lost."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator

from support.events import PATIENCE
from support.wire import Frame, command_frame, frame


class _Member:
    """One client: what it asked, and what of it was answered."""

    def __init__(self, addr: tuple[str, int], name: str) -> None:
        self.name = name
        self.sock = socket.create_connection(addr, timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(
            frame(b"$CLTHELLO$" + json.dumps({"name": name, "group": "crowd"}).encode())
        )
        self.buffer = bytearray()
        self.asked = 0
        self.answered = 0

    def ask(self, count: int) -> None:
        numbers = range(self.asked, self.asked + count)
        self.sock.sendall(b"".join(command_frame("count", str(number)) for number in numbers))
        self.asked += count

    def receive(self) -> None:
        data = self.sock.recv(65536)
        assert data, f"{self.name} was disconnected after {self.answered} answers"
        self.buffer += data
        while len(self.buffer) >= 16:
            end = 16 + int(bytes(self.buffer[:16]))
            if len(self.buffer) < end:
                break
            got = Frame(bytes(self.buffer[16:end]))
            del self.buffer[:end]
            if got.command == "counted":
                wanted = str(self.answered).encode()
                assert got.message == wanted, f"{self.name}: {got.message!r}, not {wanted!r}"
                self.answered += 1


class Crowd:
    """Clients on raw sockets, driven by one selector.

    The server has to answer every ``count`` with a ``counted`` of the same message.
    """

    def __init__(self, addr: tuple[str, int], size: int = 50) -> None:
        self.members = [_Member(addr, f"crowd-{index}") for index in range(size)]
        self._selector = selectors.DefaultSelector()
        for member in self.members:
            self._selector.register(member.sock, selectors.EVENT_READ, member)
        self.round()

    def round(self, count: int = 3) -> None:
        """Each client sends ``count`` messages and gets as many answers, in order."""
        for member in self.members:
            member.ask(count)
        waiting = set(self.members)
        deadline = time.monotonic() + PATIENCE
        while waiting:
            ready = self._selector.select(deadline - time.monotonic())
            assert ready, f"{len(waiting)} clients wait for answers that never came"
            for key, _ in ready:
                key.data.receive()
                if key.data.answered == key.data.asked:
                    waiting.discard(key.data)

    @contextlib.contextmanager
    def talking(self) -> Iterator[None]:
        """Keep talking during the block, and for a whole round after it."""
        stop = threading.Event()
        started = threading.Event()
        failures: list[BaseException] = []

        def talk() -> None:
            try:
                while not stop.is_set():
                    self.round()
                    started.set()
                self.round()
            except BaseException as exc:
                failures.append(exc)
                started.set()

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        assert started.wait(PATIENCE)
        try:
            yield
        finally:
            stop.set()
            thread.join(2 * PATIENCE)
        assert not thread.is_alive()
        if failures:
            raise failures[0]

    def close(self) -> None:
        self._selector.close()
        for member in self.members:
            member.sock.close()
