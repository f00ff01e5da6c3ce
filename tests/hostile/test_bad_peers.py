"""A peer that breaks the protocol loses its connection, and harms nobody else.

One server with small limits serves fifty well-behaved clients, who talk all the time, and one bad
peer after another. What a bad peer sent correctly before is handled; the reason is logged once.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Literal

import pytest
from support import Crowd, Peer, command_frame, frame
from support.events import PATIENCE
from support.logs import LogEvents

import hisock

from .conftest import MAX_MESSAGE, Loop, Wired, answer_counting


@dataclass(frozen=True)
class Attack:
    """What a bad peer does.

    :ivar sends: its bytes, behind a correct hello and a correct command if ``joined``.
    :ivar logged: what has to be in the reason that is logged.
    :ivar then: ``"wait"`` until the server closes, or ``"cut"`` the connection.
    """

    name: str
    sends: bytes
    logged: str
    joined: bool = True
    then: Literal["wait", "cut"] = "wait"


def hello(text: str) -> bytes:
    return frame(b"$CLTHELLO$" + text.encode())


def before_hello(name: str, sends: bytes, logged: str) -> Attack:
    return Attack(name, sends, logged, joined=False)


HELLOS = [
    before_hello("garbage instead of a hello", b"\x00\xff garbage, not a frame", "header"),
    before_hello("an HTTP request", b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", "header"),
    before_hello("a TLS client hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 4, "header"),
    before_hello("a hello that is not JSON", hello("{name: alice}"), "hello"),
    before_hello("a hello that is not UTF-8", frame(b'$CLTHELLO${"name": "\xff"}'), "hello"),
    before_hello("a hello that is a JSON list", hello('["alice", "red"]'), "hello"),
    before_hello("a hello that is JSON null", hello("null"), "hello"),
    before_hello("a hello whose name is a list", hello('{"name": [5], "group": null}'), "hello"),
    before_hello("a hello without anything", hello(""), "hello"),
    before_hello("a hello nested deep", hello('{"x": ' + "[" * 30000), "hello"),
    before_hello("a hello over 64 KiB, only its header", b"65537".ljust(16), "65536"),
    before_hello("a command before the hello", command_frame("ping"), "hello"),
    before_hello("a raw frame before the hello", frame(b"raw"), "CLTHELLO"),
    before_hello("an empty frame before the hello", frame(b""), "CLTHELLO"),
    before_hello("a keepalive answer before the hello", frame(b"$KEEPACK$"), "CLTHELLO"),
    Attack("a second hello", hello('{"name": "late", "group": null}'), "CLTHELLO"),
]

HEADERS = [
    Attack(f"a header with {what}", header.ljust(16) + b"0123456789" * 7, "header")
    for what, header in {
        "letters": b"12abc",
        "hexadecimal digits": b"0x10",
        "a minus sign": b"-5",
        "a plus sign": b"+5",
        "a tab": b"5\t",
        "a line feed at the end": b"5              \n",
        "an underscore": b"1_0",
        "a leading space": b" 5",
        "a space between digits": b"1 0",
        "a decimal point": b"5.0",
        "a digit of another script": "5٣".encode(),
        "spaces only": b"",
        "zero bytes": b"\x00" * 16,
    }.items()
]

SIZES = [
    Attack("a header that claims 10^15 bytes", b"1000000000000000", "1000000000000000"),
    Attack("a header of sixteen nines", b"9" * 16, "9999999999999999"),
    Attack("a frame of one byte too many", frame(b"x" * (MAX_MESSAGE + 1)), str(MAX_MESSAGE)),
]

CUTS = [
    Attack("a cut inside a header", b"12      ", "header", then="cut"),
    Attack("a cut inside a payload", b"100             only this", "payload", then="cut"),
    Attack("a cut inside a hello's header", b"43  ", "header", joined=False, then="cut"),
    Attack("a cut inside a hello", b"43              $CLTHE", "payload", joined=False, then="cut"),
]

COMMANDS = [
    Attack("invalid UTF-8 in a command", command_frame(b"caf\xe9", b"message"), "UTF-8"),
    Attack("a surrogate in a command", command_frame(b"\xed\xa0\x80"), "UTF-8"),
    Attack("a pair of dollars in a command", command_frame("a $b$ c", b"message"), "$"),
    Attack("an empty command", command_frame("", b"message"), "command"),
]

CLIENT_JSON = '{"ip": ["127.0.0.1", 1], "name": null, "group": null}'
RESERVED = [
    Attack(f"a client that sends {name}", frame(f"${name}${data}".encode()), name)
    for name, data in {
        "CLTCONN": CLIENT_JSON,
        "CLTDISCONN": CLIENT_JSON,
        "KEEPALIVE": "",
        "DISCONN": "",
    }.items()
] + [
    Attack("a new name that is not UTF-8", frame(b"$CHNAME$\xff\xfe"), "CHNAME"),
    Attack("a new group that is not UTF-8", frame(b"$CHGROUP$\xff\xfe"), "CHGROUP"),
    Attack("a question for a name that is not UTF-8", frame(b"$GETCLT$\xff\xfe"), "GETCLT"),
]

ATTACKS = HELLOS + HEADERS + SIZES + CUTS + COMMANDS + RESERVED


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_only_the_bad_peer_is_closed(wired: Wired, attack: Attack, log: LogEvents) -> None:
    with wired.crowd.talking(), Peer(wired.server.addr) as bad:
        if attack.joined:
            bad.hello(attack.name)
            bad.send("before", "sent correctly")
        bad.write(attack.sends)
        if attack.then == "cut":
            bad.end_writing()
        bad.rest()
        if attack.joined:
            wired.events.wait_for("before", attack.name, "sent correctly")
            wired.events.wait_for("leave", attack.name)
        log.wait_until(lambda seen: seen)
    assert wired.events.named("join").count((attack.name,)) == attack.joined
    reason = log.wait_one().getMessage()
    assert attack.logged.lower() in reason.lower()
    assert bad.ip in reason or attack.name in reason, "the reason does not say who"


def test_what_came_in_the_same_packet_before_a_bad_header_is_handled(wired: Wired) -> None:
    with Peer(wired.server.addr) as bad:
        bad.write(
            hello(json.dumps({"name": "one packet", "group": None}))
            + b"".join(command_frame("before", f"packet {number}") for number in range(20))
            + b"oops            "
            + command_frame("before", "never")
        )
        bad.rest()
    wired.events.wait_for("leave", "one packet")
    handled = [token for name, token in wired.events.named("before") if name == "one packet"]
    assert handled == [f"packet {number}" for number in range(20)]


def test_what_was_asked_before_a_bad_header_is_answered(wired: Wired) -> None:
    with Peer(wired.server.addr) as bad:
        bad.hello("asks, then errs")
        bad.write(command_frame("count", "1") + command_frame("count", "2") + b"?" * 16)
        answers = [got.message for got in bad.rest() if got.command == "counted"]
    assert answers == [b"1", b"2"]


@pytest.mark.parametrize("inside", [b"", b"1000            half a ", b"10"])
def test_a_reset_costs_only_the_peer_that_sent_it(
    wired: Wired, inside: bytes, log: LogEvents
) -> None:
    name = f"resets after {inside!r}"
    with wired.crowd.talking():
        bad = Peer.joined(wired.server.addr, name)
        bad.send("before", "sent correctly")
        wired.events.wait_for("before", name, "sent correctly")
        bad.write(inside)
        bad.reset()
        wired.events.wait_for("leave", name)
    assert len(log.messages) <= 1, log.messages


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    "last_words",
    [frame(b"$USRCLOSE$"), frame(b"$DISCONN$"), b"?" * 16, command_frame("ping")],
    ids=["a goodbye", "a wrong frame", "no frame", "a command"],
)
def test_a_peer_that_is_gone_when_its_last_words_are_read_leaves_like_any_other(
    wired: Wired, last_words: bytes, how: Literal["close", "reset"]
) -> None:
    """The server finds out when it answers; a 2.0.2 client closes right behind its goodbye."""
    name = f"{how} behind {last_words!r}"
    with Peer.joined(wired.server.addr, "holder") as holder:
        gone = Peer.joined(wired.server.addr, name)
        wired.events.wait_for("join", name)
        errors = wired.errors.seen
        held = len(wired.events.named("holding"))
        holder.send("hold")
        wired.events.wait_for("holding", count=held + 1)
        gone.write(last_words)
        getattr(gone, how)()
        wired.release.release()
        wired.events.wait_for("leave", name)
        told = holder.wait_for(lambda got: got.reserved == "CLTDISCONN")
        assert told.json["name"] == name
    assert wired.events.named("leave").count((name,)) == 1
    assert name not in wired.server.get_all_clients("name")
    assert wired.errors.seen == errors


def test_a_connection_that_says_nothing_and_goes_is_no_event(wired: Wired) -> None:
    with wired.crowd.talking():
        joined = wired.events.named("join")
        Peer(wired.server.addr).close()
        Peer(wired.server.addr).reset()
        with Peer(wired.server.addr) as silent:
            silent.end_writing()
            assert silent.rest() == []
    assert wired.events.named("join") == joined


def test_half_a_hello_holds_up_nobody(wired: Wired) -> None:
    with Peer(wired.server.addr) as slow, wired.crowd.talking():
        slow.write(b"43      ")
        with Peer.joined(wired.server.addr, "quick") as quick:
            quick.ask("ping", answer="pong")


def test_a_hello_that_never_comes_closes_that_connection(log: LogEvents) -> None:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), hello_timeout=1.0)
    answer_counting(server)
    server.start()
    with server:
        crowd = Crowd(server.addr)
        with crowd.talking(), Peer(server.addr) as silent, Peer(server.addr) as slow:
            slow.write(b"43      ")
            assert silent.rest() == slow.rest() == []
            for bad in (silent, slow):
                log.wait_for_text(bad.ip)
        for bad in (silent, slow):
            (reason,) = [text for text in log.messages if bad.ip in text]
            assert "hello" in reason.lower()
        assert len(server) == len(crowd.members)
        crowd.close()


def test_a_hello_that_waits_for_a_busy_server_came_in_time(loop: Loop) -> None:
    """What a client sent in time is not late because the server reads it late."""
    timeout = 0.5
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), hello_timeout=timeout, loop=loop)
    holding, release = threading.Event(), threading.Event()

    @server.on("hold")
    def hold() -> None:
        holding.set()
        assert release.wait(PATIENCE)

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with server, Peer.joined(server.addr, "holder") as holder, Peer(server.addr) as waiting:
        for _ in range(3):  # by then the server has accepted the other one
            holder.ask("ping", answer="pong")
        holder.send("hold")
        assert holding.wait(PATIENCE)
        waiting.hello("patient")
        assert not release.wait(2 * timeout)  # nothing is waited for but the time to pass
        release.set()
        waiting.wait_for(lambda got: got.reserved == "CLTCONN")


def test_a_keepalive_answer_that_waits_for_a_busy_server_came_in_time(loop: Loop) -> None:
    timeout = 0.5
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0), keepalive_interval=0.5, keepalive_timeout=timeout, loop=loop
    )
    holding, release = threading.Event(), threading.Event()

    @server.on("hold")
    def hold() -> None:
        holding.set()
        assert release.wait(PATIENCE)

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with server, Peer.joined(server.addr) as holder, Peer.joined(server.addr) as dutiful:
        dutiful.wait_for(lambda got: got.reserved == "KEEPALIVE")
        holder.send("hold")
        assert holding.wait(PATIENCE)
        dutiful.reserved("KEEPACK")
        assert not release.wait(2 * timeout)  # nothing is waited for but the time to pass
        release.set()
        dutiful.ask("ping", answer="pong")


def test_the_crowd_is_complete_after_all_of_this(wired: Wired) -> None:
    wired.crowd.round(50)
    names = wired.server.get_all_clients("name")
    assert {member.name for member in wired.crowd.members} <= set(names)
