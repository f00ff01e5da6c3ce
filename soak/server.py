"""The server of a soak: checks what arrives by sequence numbers, and tells what it has sent.

A child of ``python -m soak``. Each line of its standard input is a question, answered by one line
of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
from typing import Any

import hisock

TICK = 0.05
GROUPS = 5


class Books:
    """What the server has seen, and what was wrong with it."""

    def __init__(self) -> None:
        self.news = 0
        self.group_news = [0] * GROUPS
        self.joins = 0
        self.leaves = 0
        self.said = 0
        self.renames = 0
        self.moves = 0
        self.calls = 0
        self.asked_back = 0
        self.worked = 0
        self.violations: list[str] = []
        self.lock = threading.Lock()

    def violation(self, text: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(text)


def make_server(books: Books) -> hisock.ThreadedHiSockServer:
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0),
        keepalive_interval=3.0,
        keepalive_timeout=10.0,
        session=lambda: {"said": 0},
    )
    _wire_comings(server, books)
    _wire_talk(server, books)
    _wire_news(server, books)
    return server


def _wire_comings(server: hisock.ThreadedHiSockServer, books: Books) -> None:
    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        books.joins += 1
        server.join_room(client, f"room {books.joins % 7}")
        # Where in the order of things it came; from here on it must be told of everything.
        server.send_client(client, "welcome", [books.joins, books.leaves, books.news])

    @server.on("leave")
    def leave(client: hisock.ClientInfo) -> None:
        books.leaves += 1

    @server.on("name_change")
    def name_change(client: hisock.ClientInfo, old: str, new: str) -> None:
        books.renames += 1

    @server.on("group_change")
    def group_change(client: hisock.ClientInfo, old: str, new: str) -> None:
        books.moves += 1


def _wire_talk(server: hisock.ThreadedHiSockServer, books: Books) -> None:
    @server.on("say")
    def say(client: hisock.ClientInfo, number: int) -> None:
        session = server.session(client)
        if number != session["said"]:
            books.violation(f"{client} said {number}, expected was {session['said']}")
        session["said"] = number + 1
        books.said += 1

    @server.on("count")
    def count(client: hisock.ClientInfo) -> list[Any]:
        books.calls += 1
        return [server.session(client)["said"], client.name, client.group]

    @server.on("call me")
    async def call_me(client: hisock.ClientInfo, number: int) -> int:
        books.asked_back += 1
        answer = await server.call(client, "your turn", number, int, timeout=30)
        if answer != number + 1:
            books.violation(f"{client} answered {answer} to {number}")
        return answer

    @server.on("work", threaded=True)
    def work(client: hisock.ClientInfo, number: int) -> int:
        with books.lock:
            books.worked += 1
        return number * 2


def _wire_news(server: hisock.ThreadedHiSockServer, books: Books) -> None:
    @server.every(TICK)
    def news() -> None:
        server.send_all_clients("news", books.news)
        books.news += 1
        group = books.news % GROUPS
        server.send_group(f"group {group}", "group news", [group, books.group_news[group]])
        books.group_news[group] += 1


def main() -> None:
    # Ends of connections are what this is about, and no news.
    logging.basicConfig(level=logging.ERROR)
    books = Books()
    server = make_server(books)
    server.start()
    print(json.dumps({"port": server.addr[1]}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        told = {key: value for key, value in vars(books).items() if key != "lock"}
        told["stats"] = dataclasses.asdict(server.stats())
        print(json.dumps(told), flush=True)
    server.close()


if __name__ == "__main__":
    main()
