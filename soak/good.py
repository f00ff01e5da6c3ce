"""A hundred good clients of ``python -m soak.attacks``, which notice when anything is lost or late.

Each line of the standard input is a question, answered by one line of JSON; the figures begin anew.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import sys
import threading
import time

from soak.wire import command_frame, hello_frame

CLIENTS = 100
#: Messages a second of each.
RATE = 5.0


class Good:
    """One client: what it said, when, and what of it was answered."""

    def __init__(self, port: int, number: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(hello_frame(f"good {number}"))
        self.buffer = bytearray()
        self.said_at: dict[int, float] = {}
        self.said = 0
        self.answered = 0
        self.news: int | None = None
        self.due = time.monotonic() + random.random() / RATE

    def say(self, now: float) -> None:
        self.said_at[self.said] = now
        self.sock.sendall(command_frame("say", b"%d" % self.said))
        self.said += 1
        self.due = max(self.due + 1 / RATE, now)


class Crowd:
    """All of them, driven by one selector."""

    def __init__(self, port: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.clients = [Good(port, number) for number in range(CLIENTS)]
        for client in self.clients:
            self.selector.register(client.sock, selectors.EVENT_READ, client)
        self.seconds: list[float] = []
        self.problems: list[str] = []
        self.news = 0
        self.lock = threading.Lock()
        self.ending = False

    def run(self) -> None:
        while not self.ending or any(client.said_at for client in self.clients):
            now = time.monotonic()
            wait = min(client.due for client in self.clients) - now
            for key, _ in self.selector.select(0.05 if self.ending else max(wait, 0)):
                self._receive(key.data)
            now = time.monotonic()
            for client in self.clients:
                if not self.ending and client.due <= now and client.sock.fileno() >= 0:
                    client.say(now)

    def _receive(self, client: Good) -> None:
        try:
            data = client.sock.recv(262144)
        except OSError as exc:
            data = str(exc).encode()[:0]
        if not data:
            self.problems.append(f"a good client was disconnected after {client.answered} answers")
            self.selector.unregister(client.sock)
            client.sock.close()
            client.said_at.clear()
            return
        client.buffer += data
        now = time.monotonic()
        while len(client.buffer) >= 16 and len(client.buffer) >= (
            end := 16 + int(client.buffer[:16])
        ):
            self._take(client, bytes(client.buffer[16:end]), now)
            del client.buffer[:end]

    def _take(self, client: Good, payload: bytes, now: float) -> None:
        head, _, message = payload.partition(b"$MSG$")
        if head == b"$CMD$said":
            number = int(message)
            if number != client.answered:
                self.problems.append(f"answer {number} came where {client.answered} should have")
            client.answered = number + 1
            with self.lock:
                self.seconds.append(now - client.said_at.pop(number))
        elif head == b"$CMD$news":
            number = int(message)
            if client.news is not None and number != client.news + 1:
                self.problems.append(f"news {number} came behind {client.news}")
            client.news = number
            self.news += 1

    def figures(self) -> dict[str, object]:
        """What has been measured since the last time."""
        with self.lock:
            seconds, self.seconds = sorted(self.seconds), []
            problems, self.problems = self.problems, []
        told: dict[str, object] = {"answers": len(seconds), "news": self.news, "problems": problems}
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            at = min(int(part * len(seconds)), len(seconds) - 1)
            told[name] = round(1000 * seconds[at], 1) if seconds else None
        return told


def main() -> None:
    crowd = Crowd(int(sys.argv[1]))
    thread = threading.Thread(target=crowd.run)
    thread.start()
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        print(json.dumps(crowd.figures()), flush=True)
    crowd.ending = True
    thread.join(30)
    told = crowd.figures()
    told["unanswered"] = sum(len(client.said_at) for client in crowd.clients)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
