"""A server for the commands to talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hisock


@pytest.fixture
def server() -> Iterator[hisock.ThreadedHiSockServer]:
    """Answers calls of ``add``, ``answer``, ``count`` and ``fail``, sends back what comes as
    ``say``, ``echo`` and ``room``, and disconnects a client that says ``bye``."""
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0)) as running:

        @running.on("add")
        def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
            return sum(numbers)

        @running.on("count")
        def count(client: hisock.ClientInfo, most: int) -> Iterator[int]:
            yield from range(most)

        @running.on("fail")
        def fail(client: hisock.ClientInfo) -> None:
            raise ValueError("it failed on purpose")

        @running.on("say")
        def say(client: hisock.ClientInfo, text: str) -> None:
            running.send_all_clients("said", {"by": client.name, "text": text})

        @running.on("echo")
        def echo(client: hisock.ClientInfo, message: bytes) -> None:
            running.send_client(client, "echo", message)

        @running.on("room")
        def room(client: hisock.ClientInfo, message: bytes) -> None:
            running.send_group(client, "room", message)

        @running.on("answer")
        def answer(client: hisock.ClientInfo, message: bytes) -> bytes:
            return message

        @running.on("bye")
        def bye(client: hisock.ClientInfo) -> None:
            running.disconnect_client(client)

        running.start()
        yield running
