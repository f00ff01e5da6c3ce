"""The clients of a soak: some stay all the time, some come and go, some break off.

A child of ``python -m soak``: prints a line when those that stay have joined, has the others come
and go from the line ``begin`` of its standard input until the line ``end``, and then prints what it
has seen as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import threading
from collections import Counter
from typing import Any

import hisock

STEADY = 12
#: Of all who come and go; the rest breaks off.
POLITE = 0.7


class Books:
    """What happened, and what should not have."""

    def __init__(self) -> None:
        self.did: Counter[str] = Counter()
        self.violations: list[str] = []

    def violation(self, text: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(text)


class Client:
    """One client of the library that checks everything it is told."""

    def __init__(self, books: Books, name: str) -> None:
        self.books = books
        self.name = name
        self.group = f"group {random.randrange(5)}"
        self.said = 0
        self.next_news: int | None = None
        self.next_group_news: int | None = None
        self.welcomed: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.joins = 0
        self.leaves = 0

    async def connect(self, port: int) -> None:
        self.client = await hisock.async_connect(("127.0.0.1", port), self.name, self.group)
        on = self.client.on

        @on("welcome")
        def welcome(numbers: list[int]) -> None:
            self.welcomed.set_result(numbers)
            self.next_news = numbers[2]

        @on("news")
        def news(number: int) -> None:
            if number != self.next_news:
                self.books.violation(f"{self.name}: news {number}, expected {self.next_news}")
            self.next_news = number + 1
            self.books.did["news"] += 1

        @on("group news")
        def group_news(numbers: list[int]) -> None:
            group, number = numbers
            if self.group is None or f"group {group}" != self.group:
                return  # of the group that it is just leaving or entering
            if self.next_group_news not in (None, number):
                self.books.violation(
                    f"{self.name}: {self.group} {number}, expected {self.next_group_news}"
                )
            self.next_group_news = number + 1

        @on("your turn")
        def your_turn(number: int) -> int:
            return number + 1

        @on("client_connect")
        def client_connect(info: hisock.ClientInfo) -> None:
            self.joins += 1

        @on("client_disconnect")
        def client_disconnect(info: hisock.ClientInfo) -> None:
            self.leaves += 1

        await asyncio.wait_for(self.welcomed, 30)

    async def act(self) -> None:
        """Do one of the things that clients do, and check its result."""
        did = random.choice(["say", "say", "say", "rename", "move", "call me", "work", "count"])
        if did == "say":
            for _ in range(random.randrange(1, 6)):
                self.client.send("say", self.said)
                self.said += 1
        elif did == "rename":
            self.name = f"{self.name.split('/')[0]}/{random.randrange(1000)}"
            self.client.change_name(self.name)
        elif did == "move":
            await self.move()
        elif did == "count":
            await self.count()
        else:
            number = random.randrange(10**6)
            wanted = number + 1 if did == "call me" else number * 2
            got = await self.client.call(did, number, int, timeout=30)
            if got != wanted:
                self.books.violation(f"{self.name}: {did} {number} returned {got}")
        self.books.did[did] += 1

    async def move(self) -> None:
        # Between the request and its confirmation either group's news may come.
        group = f"group {random.randrange(5)}"
        self.group = "on the way"
        self.client.change_group(group)
        await self.client.call("count", None, list, timeout=30)
        self.group, self.next_group_news = group, None

    async def count(self) -> None:
        got = await self.client.call("count", None, list, timeout=30)
        wanted = [self.said, self.name, self.group]
        if got != wanted:
            self.books.violation(f"{self.name}: the server has {got}, expected {wanted}")

    async def live(self, seconds: float) -> None:
        """Talk for a while, and leave when the server has got all of it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await self.act()
            await asyncio.sleep(random.uniform(0.1, 0.4))
        await self.count()
        self.books.did["accounted for"] += self.said
        await self.client.close()


async def come_and_go(books: Books, port: int, number: int) -> None:
    """One life, polite or not."""
    try:
        if random.random() < POLITE:
            client = Client(books, f"guest {number}")
            await client.connect(port)
            await client.live(random.uniform(0.3, 2.0))
            books.did["polite lives"] += 1
        else:
            await break_off(books, port, number)
    except Exception as exc:
        books.violation(f"guest {number}: {exc!r}")


def frame(payload: bytes) -> bytes:
    return str(len(payload)).encode().ljust(16) + payload


async def break_off(books: Books, port: int, number: int) -> None:
    """A raw connection that ends as no client should."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    hello = json.dumps({"name": f"breaker {number}", "group": f"group {number % 5}"})
    writer.write(frame(b"$CLTHELLO$" + hello.encode()))
    for said in range(random.randrange(10)):
        writer.write(frame(b"$CMD$say$MSG$%d" % said))
    await writer.drain()
    await asyncio.sleep(random.uniform(0.0, 1.0))
    whole = frame(b"$CMD$never$MSG$complete")
    how = random.choice(["cut", "reset", "garbage", "leave", "deaf"])
    if how == "garbage":
        writer.write(b"\xff" * 16)
    elif how == "leave":
        writer.write(frame(b"$USRCLOSE$"))
    elif how == "deaf":
        await asyncio.sleep(1.0)  # reads nothing of what it is told
    else:
        writer.write(whole[: random.randrange(len(whole))])
    if how == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass
    books.did[f"breaks off: {how}"] += 1


async def run(port: int, rate: float, begin: asyncio.Event, end: asyncio.Event) -> dict[str, Any]:
    books = Books()
    steady = [Client(books, f"steady {number}") for number in range(STEADY)]
    for client in steady:
        await client.connect(port)
    # From here on the steady ones are told the same. Nothing happens while they are counted.
    print(json.dumps({"ready": STEADY}), flush=True)
    await begin.wait()
    lives = [asyncio.create_task(talk(client, end)) for client in steady]
    loop = asyncio.get_running_loop()
    due = loop.time()
    number = 0
    guests: set[asyncio.Task[None]] = set()
    while not end.is_set():
        number += 1
        guest = asyncio.create_task(come_and_go(books, port, number))
        guests.add(guest)
        guest.add_done_callback(guests.discard)
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
    await asyncio.gather(*guests, *lives)
    return {
        "violations": books.violations,
        "did": dict(books.did),
        "guests": number,
        "steady": await last_words(steady),
    }


async def talk(client: Client, end: asyncio.Event) -> None:
    try:
        while not end.is_set():
            await client.act()
            await asyncio.sleep(random.uniform(0.2, 0.6))
    except Exception as exc:
        client.books.violation(f"{client.name}: {exc!r}")


async def last_words(steady: list[Client]) -> list[dict[str, Any]]:
    """What each that stayed has been told, once the server says that all the others are gone."""
    print(json.dumps({"quiet": True}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    told = []
    for client in steady:
        await client.count()
        welcome = client.welcomed.result()
        # Everybody was told of its joining, itself included, and then it was welcomed.
        told.append(
            {
                "joins": welcome[0] - 1 + client.joins,
                "leaves": welcome[1] + client.leaves,
                "news": client.next_news,
            }
        )
    for client in steady:
        await client.client.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    arguments = parser.parse_args()

    async def all_of_it() -> dict[str, Any]:
        begin, end = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait_for_lines() -> None:
            for event in (begin, end):
                sys.stdin.readline()
                loop.call_soon_threadsafe(event.set)

        threading.Thread(target=wait_for_lines, daemon=True).start()
        return await run(arguments.port, arguments.rate, begin, end)

    print(json.dumps(asyncio.run(all_of_it())), flush=True)


if __name__ == "__main__":
    main()
