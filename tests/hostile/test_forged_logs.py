"""Whatever a stranger sends, each line of the log is the server's, and no secret is in it."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from support import Peer, frame
from support.logs import LogEvents, logged

import hisock

from .conftest import Loop
from .serving import serving

TOKEN = "correct-horse-battery-staple"
FORGED = "\nCRITICAL:root:forged\r\x1b[2J\u2028"


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square"):
    side: float


@dataclass
class Sizes:
    sizes: dict[str, int]


@pytest.fixture
def everything() -> Iterator[LogEvents]:
    """All that is logged, by whoever."""
    with logged("", logging.DEBUG) as records:
        yield records


def texts(log: LogEvents) -> list[str]:
    """What was logged, tracebacks included."""
    formatter = logging.Formatter("%(message)s")
    return [formatter.format(record) for _, record in log.seen]


SENT: list[tuple[str, Any]] = [
    ("shape", {"type": "circle" + FORGED, "radius": 1}),
    ("sizes", {"sizes": {FORGED: "x"}}),
    ("number", FORGED),
    ("text", FORGED),
]


def test_messages_cannot_forge_lines(loop: Loop, everything: LogEvents) -> None:
    with serving(loop) as server:

        @server.on("shape")
        def shape(client: hisock.ClientInfo, it: Circle | Square) -> None: ...

        @server.on("sizes")
        def sizes(client: hisock.ClientInfo, it: Sizes) -> None: ...

        @server.on("number")
        def number(client: hisock.ClientInfo, it: int) -> None: ...

        @server.on("text")
        def text(client: hisock.ClientInfo, it: str) -> None:
            raise ValueError(f"cannot do {it}")

        server.start()
        with Peer.joined(server.addr, "mallory") as mallory:
            for command, message in SENT:
                data = message if isinstance(message, str) else json.dumps(message)
                mallory.send(command, data)
            mallory.ask("ping", answer="pong")
        assert server.stats().handler_errors == len(SENT)
    failed = [text for text in texts(everything) if "the handler of" in text]
    assert len(failed) == len(SENT)
    for logged_text in failed:
        lines = logged_text.splitlines()
        assert all(line.isprintable() for line in lines)
        # A traceback ends with the error on its last line; what was sent begins no other.
        assert not any(line.startswith("CRITICAL") for line in lines)
    assert sum("CRITICAL" in text for text in failed) == 3


def test_the_key_error_of_an_account_does_not_show_the_token(
    loop: Loop, everything: LogEvents
) -> None:
    seen: list[BaseException] = []
    with serving(loop) as server:
        accounts: dict[str | None, str] = {}

        @server.authenticate
        def authenticate(token: str | None) -> None:
            if accounts[token]:
                return

        server.start(error_handler=seen.append)
        with pytest.raises(hisock.ConnectionRejected, match="could not authenticate") as caught:
            hisock.connect(server.addr, "ann", token=TOKEN)
    assert TOKEN not in str(caught.value)
    assert any("KeyError" in text for text in texts(everything))
    assert not any(TOKEN in text for text in texts(everything))
    assert [str(exc) for exc in seen] == [repr(TOKEN)], "the program's own handler gets the error"


def test_an_error_without_a_token_is_logged_in_full(loop: Loop, everything: LogEvents) -> None:
    with serving(loop) as server:

        @server.authenticate
        def authenticate(name: str | None) -> None:
            raise OSError("the database is away")

        server.start()
        with Peer(server.addr) as ann:
            ann.hello("ann")
            ann.rest()
    assert any("the database is away" in text for text in texts(everything))


@pytest.mark.parametrize("header_len", [1, 4, 12, 20])
def test_a_hello_read_with_another_header_length_shows_no_token(
    loop: Loop, everything: LogEvents, header_len: int
) -> None:
    with serving(loop, header_len=header_len) as server:
        server.start()
        hello = b"$CLTHELLO$" + json.dumps({"name": None, "token": TOKEN}).encode()
        for cut in (0, 5, 40, len(hello) - 20):
            with Peer(server.addr) as lost:
                lost.write(frame(hello)[cut:])
                lost.end_writing()
                lost.rest()
            with Peer(server.addr) as lost:
                lost.write(TOKEN[:header_len].encode() + b" " * 20)
                lost.end_writing()
                lost.rest()
    ends = [text for text in texts(everything) if "connection of" in text]
    assert len(ends) == 8
    for text in ends:
        for start in range(len(TOKEN) - 4):
            assert TOKEN[start : start + 4] not in text


def test_a_command_before_the_hello_is_not_shown(loop: Loop, everything: LogEvents) -> None:
    with serving(loop) as server:
        server.start()
        with Peer(server.addr) as lost:
            lost.send(TOKEN)
            lost.rest()
    (end,) = [text for text in texts(everything) if "connection of" in text]
    assert "command came before the hello" in end
    assert TOKEN not in end


def test_the_reason_of_a_server_cannot_forge_lines_at_a_client(
    loop: Loop, everything: LogEvents
) -> None:
    with serving(loop) as server:

        @server.authenticate
        def authenticate(name: str | None) -> None:
            raise hisock.Reject(f"no {name}")

        server.start()
        with pytest.raises(hisock.ConnectionRejected):
            hisock.connect(server.addr, FORGED, token="x")
    for text in texts(everything):
        assert text.isprintable(), text


def test_notes_and_the_lines_of_syntax_errors_cannot_forge_lines(everything: LogEvents) -> None:
    with serving("asyncio") as server:

        @server.on("literal")
        def literal(client: hisock.ClientInfo, text: str) -> None:
            ast.literal_eval(text)

        @server.on("note")
        def note(client: hisock.ClientInfo, text: str) -> None:
            failed = ValueError("no")
            failed.__notes__ = [text]  # type: ignore[attr-defined] # what add_note() of 3.11 does
            raise failed

        server.start()
        with Peer.joined(server.addr, "mallory") as mallory:
            for command in ("literal", "note"):
                mallory.send(command, "x " + FORGED.strip("\n") + "=" * 5000)
                mallory.send(command, "x " + FORGED)
            mallory.ask("ping", answer="pong")
    failed = [text for text in texts(everything) if "the handler of" in text]
    assert len(failed) == 4
    for text in failed:
        lines = text.split("\n")
        assert all(line.isprintable() and len(line) < 500 for line in lines)
        assert not any(line.startswith("CRITICAL") for line in lines)
    assert any("invalid" in text for text in failed)
