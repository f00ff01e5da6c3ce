"""``python -m soak.crowd``: ten thousand clients at once, some of which come and go all the time.

All join one server, in groups of twenty who are told of each other. Then for a while twenty a
second leave and others take their places, while clients picked at random ask something and wait
for the answer. Nobody may be lost or go unanswered.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import selectors
import socket
import sys
import time
from typing import Any

import hisock
from soak.children import Child
from soak.watching import Sample
from soak.wire import frame

GROUP = 20
PATIENCE = 60.0


def serve() -> None:
    """The server; a process of its own."""
    logging.basicConfig(level=logging.ERROR)
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), announce="group", keepalive_interval=10)

    @server.on("ask")
    def ask(client: hisock.ClientInfo, message: bytes) -> None:
        server.send_client(client, "answer", message)

    server.start()
    print(json.dumps({"port": server.addr[1]}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        stats = server.stats()
        told = {"clients": stats.clients, "joins": stats.joins, "ended": stats.ended}
        print(json.dumps(told), flush=True)
    server.close()


class Member:
    """A client: a raw socket, and how much of what it is told has been looked at."""

    def __init__(self, port: int, number: int) -> None:
        self.number = number
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        hello = json.dumps({"name": str(number), "group": f"group {number // GROUP}"})
        self.sock.sendall(frame(b"$CLTHELLO$" + hello.encode()))
        self.buffer = bytearray()
        self.asked = 0.0

    def ask(self) -> None:
        self.asked = time.monotonic()
        self.sock.sendall(frame(b"$CMD$ask$MSG$%d" % self.number))

    def read(self) -> tuple[int, float | None]:
        """How many announcements came, and the seconds that an answer took if there was one."""
        received = self.sock.recv(65536)
        if not received:
            raise AssertionError(f"client {self.number} was disconnected")
        self.buffer += received
        told, took = 0, None
        while len(self.buffer) >= 16:
            end = 16 + int(self.buffer[:16])
            if len(self.buffer) < end:
                break
            payload = bytes(self.buffer[16:end])
            del self.buffer[:end]
            if payload == b"$KEEPALIVE$":
                self.sock.sendall(frame(b"$KEEPACK$"))
            elif payload.startswith((b"$CLTCONN$", b"$CLTDISCONN$")):
                told += 1
            elif payload == b"$CMD$answer$MSG$%d" % self.number:
                took = time.monotonic() - self.asked
                self.asked = 0.0
            else:
                raise AssertionError(f"client {self.number} was sent {payload!r}")
        return told, took


class Crowd:
    """All clients, driven by one selector."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.members: dict[int, Member] = {}
        self.selector = selectors.DefaultSelector()
        self.announcements = 0
        self.answers: list[float] = []

    def join(self, number: int) -> None:
        member = Member(self.port, number)
        self.members[number] = member
        self.selector.register(member.sock, selectors.EVENT_READ, member)

    def leave(self, number: int) -> None:
        member = self.members.pop(number)
        self.selector.unregister(member.sock)
        member.sock.close()

    def read(self, seconds: float) -> bool:
        """Take what came; whether anything did."""
        ready = self.selector.select(max(0.0, seconds))
        for key, _ in ready:
            told, took = key.data.read()
            self.announcements += told
            if took is not None:
                self.answers.append(took)
        return bool(ready)

    def unanswered(self) -> int:
        return sum(member.asked > 0 for member in self.members.values())


def run(clients: int, churn: float, asks: float, seconds: float) -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < clients + 100:
        sys.exit(f"{clients} clients need as many descriptors, the system allows {hard}")
    with Child("soak.crowd", "--serve") as server:
        crowd = Crowd(server.answer()["port"])
        empty = Sample.of(server.pid, 0.0)
        began = time.monotonic()
        for number in range(clients):
            crowd.join(number)
            if number % 100 == 99:
                while crowd.read(0.0):
                    pass
        _wait_for(server, crowd, clients)
        joining = time.monotonic() - began
        full = Sample.of(server.pid, 0.0)
        churned = _churn(crowd, clients, churn, asks, seconds)
        last = Sample.of(server.pid, 0.0)
        deadline = time.monotonic() + PATIENCE
        while crowd.unanswered() and time.monotonic() < deadline:
            crowd.read(0.1)
        told = _wait_for(server, crowd, clients)
        lost = crowd.unanswered()
        server.tell("end")
        server.wait(PATIENCE)
    answers = sorted(crowd.answers)
    print(
        f"{clients:,} clients joined in {joining:.1f} s; the server took "
        f"{(full.memory - empty.memory) / clients / 1024:.1f} KiB for each"
    )
    print(
        f"{seconds:.0f} s with {churned / seconds:.1f} leaving and as many joining a second: "
        f"{told['ended']}, {crowd.announcements:,} announcements"
    )
    print(
        f"{len(answers):,} questions ({len(answers) / seconds:.0f} a second), {lost} unanswered; "
        f"p50 {1000 * answers[len(answers) // 2]:.1f} ms, "
        f"p99 {1000 * answers[int(len(answers) * 0.99)]:.1f} ms, "
        f"latest {1000 * answers[-1]:.1f} ms"
    )
    print(f"the server used {(last.cpu - full.cpu) / seconds:.0%} of one of {os.cpu_count()} cores")
    good = told["clients"] == clients and told["joins"] == clients + churned and not lost
    return 0 if good else 1


def _churn(crowd: Crowd, clients: int, churn: float, asks: float, seconds: float) -> int:
    """Have clients come and go; how many went."""
    began = time.monotonic()
    churned = asked = 0
    following = clients
    while (now := time.monotonic() - began) < seconds:
        while churned < now * churn:
            gone = random.choice(list(crowd.members.values()))
            if gone.asked:
                continue
            crowd.leave(gone.number)
            crowd.join(following)
            following += 1
            churned += 1
        while asked < now * asks:
            member = crowd.members[random.choice(list(crowd.members))]
            if not member.asked:
                member.ask()
            asked += 1
        crowd.read(min(1 / churn, 1 / asks) / 2)
    return churned


def _wait_for(server: Child, crowd: Crowd, clients: int) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        while crowd.read(0.05):
            pass
        told = server.ask()
        if told["clients"] == clients or time.monotonic() > deadline:
            return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.crowd", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--churn", type=float, default=20.0, help="that leave and join a second")
    parser.add_argument("--asks", type=float, default=500.0, help="questions a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return 0
    return run(arguments.clients, arguments.churn, arguments.asks, arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())
