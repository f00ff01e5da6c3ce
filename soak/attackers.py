"""The attackers of ``python -m soak.attacks``; each attack is a process.

An attack is bounded: at most a hundred connections, for so many seconds. At the end it prints what
it has done, and what it has got that it should not have, as one line of JSON.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable

from soak.wire import Addr, Line, command_frame, frame, hello_frame

MIB = 1024 * 1024
#: What this version's clients say that they know.
FEATURES = ["reject", "call", "cancel", "errors", "stream", "ack", "goaway"]


class Attack:
    """What an attacker knows: where, until when, and what it notes."""

    def __init__(self, addr: Addr, seconds: float) -> None:
        self.addr = addr
        self.seconds = seconds
        self.did: Counter[str] = Counter()
        self.problems: list[str] = []
        self._ends = time.monotonic() + seconds
        self._lines: list[Line] = []

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._ends

    def line(self, name: str | None = "attacker", **hello: object) -> Line:
        """A connection that is kept, until a hundred have followed it."""
        line = Line.joined(self.addr, name, **hello)
        self.keep(line)
        self.did["connections"] += 1
        return line

    def keep(self, line: Line) -> None:
        """Keep a connection open until a hundred have followed it."""
        self._lines.append(line)
        if len(self._lines) > 100:
            self._lines.pop(0).close()

    def write(self, line: Line, data: bytes) -> bool:
        taken = line.write(data)
        self.did["written" if taken else "not taken whole"] += 1
        return taken

    def repeat(self, data: bytes, name: str | None = "attacker", **hello: object) -> None:
        """Write the same again and again, on a new connection where one takes no more."""
        while self.goes_on:
            line = self.line(name, **hello)
            while self.goes_on and self.write(line, data):
                pass


def hello_command_reset(a: Attack) -> None:
    """1. The address has to be that which accept returned."""
    while a.goes_on:
        line = Line.joined(a.addr)
        a.write(line, command_frame("count"))
        line.reset()


def commands_while_pending(a: Attack) -> None:
    """2. Large commands without a message, while authentication takes its time."""
    a.repeat(frame(b"$CMD$" + b"x" * 8 * MIB), "pending")


def commands_without_handlers(a: Attack) -> None:
    """2. The same by clients that have been let in, behind a handler that runs."""
    a.repeat(command_frame("busy", b"x") + frame(b"$CMD$" + b"x" * 8 * MIB))


def large_hellos(a: Attack) -> None:
    """2. Hellos of 16 MiB, with a million keys."""
    data = frame(b'$CLTHELLO${"a":[' + b"{}," * (5 * MIB) + b"{}]}")
    while a.goes_on:
        with Line(a.addr) as line:
            a.write(line, data)


def half_frames(a: Attack) -> None:
    """3. A whole message of 4 MiB, and then halves of others."""
    donor = a.line("donor")
    while a.goes_on:
        a.write(donor, command_frame("count", bytes(4 * MIB)))
        a.write(a.line(), frame(bytes(8 * MIB))[: 34 * 1024])


def threads_and_leave(a: Attack) -> None:
    """4. Work for threads, left behind."""
    while a.goes_on:
        with Line.joined(a.addr) as line:
            a.write(line, command_frame("block", bytes(MIB)) * 3)


def tasks_and_leave(a: Attack) -> None:
    """4. Tasks, left behind; in one read as many as fit."""
    while a.goes_on:
        with Line.joined(a.addr) as line:
            a.write(line, command_frame("task", b"x") * 2300)


def questions_about_namesakes(a: Attack) -> None:
    """5. Who has a name that two have, 4,000 times a read; the answers are not read."""
    a.line("twin")
    a.repeat(frame(b"$GETCLT$twin") * 4000, "twin")


def renames_to_a_common_name(a: Attack) -> None:
    """6. Names that ninety others have."""
    for _ in range(90):
        a.line("x")
    line = a.line()
    data = (frame(b"$CHNAME$x") + frame(b"$CHNAME$y")) * 1000
    while a.goes_on:
        if not a.write(line, data):
            line = a.line()


def names_like_addresses(a: Attack) -> None:
    """7. Be called what the address of one who left was, and get what is sent there."""
    while a.goes_on:
        with Line.joined(a.addr, "ann") as ann:
            ann.write(command_frame("who"))
            ip = (ann.wait_for(b"$CMD$who") or b"").partition(b"$MSG$")[2]
            real = ann.ip.encode()
        for text in filter(None, (ip, real)):
            with Line.joined(a.addr, "eve") as eve, Line.joined(a.addr, text.decode()) as mallory:
                eve.write(frame(b"$CHNAME$" + text) + command_frame("to", text))
                mallory.write(command_frame("to", text))
                for line in (eve, mallory):
                    if line.wait_for(b"$CMD$secret", 0.1):
                        a.problems.append(f"what was sent to {text!r} came to one of that name")
        a.did["names"] += 1


def guessed_addresses(a: Attack) -> None:
    """8. Questions for every address; only one's own number may be told, and no port."""
    victim = a.line("victim")
    port = int(victim.ip.rpartition(":")[2])
    while a.goes_on:
        line = a.line()
        ports = [port, *(random.randrange(1024, 65536) for _ in range(500))]
        line.write(b"".join(frame(b"$GETCLT$127.0.0.1:%d" % each) for each in ports))
        answers = [got for got in line.frames(0.3) if got.startswith(b"{")]
        a.did["answers"] += len(answers)
        if any(b"NOEXIST" not in answer for answer in answers):
            a.problems.append("an address that is hidden was found")


def rate_by_coming_back(a: Attack) -> None:
    """9. A burst, and a new connection for the next one; the server's figures tell."""
    data = command_frame("count") * 2000
    while a.goes_on:
        with Line.joined(a.addr, "flood") as line:
            a.did["bursts"] += line.write(data)
            line.sock.shutdown(1)
            for _ in line.frames(1.0):
                pass


def forged_logs(a: Attack) -> None:
    """10. Names of fields, texts, tokens and headers with lines in them."""
    forged = "\nFORGED line\r\nFORGED"
    bodies = [
        json.dumps({forged: 1, "item": forged, "count": forged}).encode(),
        json.dumps([forged]).encode(),
        forged.encode(),
    ]
    while a.goes_on:
        line = a.line(forged, token=forged)
        line.write(b"".join(command_frame("order", body) for body in bodies))
        Line(a.addr).write(b"\nFORGED         x")
        a.line(forged).write(frame(b"$CMD$nobody" + forged.encode()) + frame(b"$CHNAME$admin"))
        a.did["rounds"] += 1


def renames_to_admin(a: Attack) -> None:
    """11. To be called what one was not let in as; the server's handlers tell."""
    while a.goes_on:
        line = a.line()
        line.write(frame(b"$CHNAME$admin") + command_frame("say", b"as admin"))
        a.did["answered"] += line.wait_for(b"$CMD$said") is not None


def cancelled_authentication(a: Attack) -> None:
    """12. An authenticate that raises CancelledError; the connection has to end."""
    while a.goes_on:
        with Line.joined(a.addr, "cancelled") as line:
            before = time.monotonic()
            for _ in line.frames(10.0):
                pass
            if time.monotonic() - before > 9.9:
                a.problems.append("a connection that was not let in does not end")
        a.did["ended"] += 1


def silent_connections(a: Attack) -> None:
    """13. A thousand that say nothing, and are ended all at once."""
    silent = [Line(a.addr) for _ in range(1000)]
    a.did["silent"] = len(silent)
    while a.goes_on:
        time.sleep(0.1)
    for line in silent:
        line.close()


# -- what a hostile reader adds


def tiny_frames_of_tasks(a: Attack) -> None:
    a.repeat(command_frame("task") * 2500)


def calls_of_which_no_reply_is_read(a: Attack) -> None:
    call = frame(b"$CALL$1$CMD$map")
    a.repeat(call * 500, features=FEATURES)


def streams_that_are_not_read(a: Attack) -> None:
    """Each has a task; the numbers are new ones, and more is asked for without reading."""
    while a.goes_on:
        line = a.line(features=FEATURES)
        for number in range(200):
            start = frame(b"$STREAM$%d$CMD$rows" % number)
            if not a.write(line, start + frame(b"$MORE$%d" % number) * 50):
                break


def confirmed_messages_of_new_clients(a: Attack) -> None:
    """The server remembers something of each secret."""
    while a.goes_on:
        with Line(a.addr) as line:
            hello = hello_frame(None, features=FEATURES, resume=os.urandom(32).hex())
            a.write(line, hello + frame(b"$SEND$1$CMD$count") * 50)


def confirmed_messages_behind_a_handler(a: Attack) -> None:
    """Each comes back, and leaves a handler that runs."""
    secret = os.urandom(8).hex()
    for number in range(1, 1 << 60):
        if not a.goes_on:
            return
        hello = hello_frame("again", features=FEATURES, resume=secret)
        line = Line(a.addr)
        a.write(line, hello + frame(b"$SEND$%d$CMD$busy$MSG$x" % number) * 50)
        line.reset()


def slow_readers(a: Attack) -> None:
    """Ask for 8 KiB by each frame, and read nothing."""
    ask = frame(b"$CALL$7$CMD$map") + command_frame("say", bytes(8192)) * 8
    a.repeat(ask, features=FEATURES)


def one_byte_at_a_time(a: Attack) -> None:
    lines = [a.line() for _ in range(50)]
    data = command_frame("say", b"slowly") * 100
    for each in data * 1000:
        for line in lines:
            if not a.goes_on:
                return
            with contextlib.suppress(OSError):
                line.sock.send(bytes([each]))
            a.did["bytes"] += 1


def _websocket(a: Attack) -> Line:
    line = Line(a.addr)
    key = base64.b64encode(os.urandom(16)).decode()
    line.write(
        f"GET / HTTP/1.1\r\nHost: {a.addr[0]}:{a.addr[1]}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Protocol: hisock.v3\r\n\r\n".encode()
    )
    with contextlib.suppress(OSError):
        line.sock.recv(4096)
    return line


def _message(payload: bytes, opcode: int = 2) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def websocket_pings(a: Attack) -> None:
    """Pings of which the answers are not read."""
    data = _message(hello_frame(None)) + _message(bytes(125), 9) * 4000
    while a.goes_on:
        with _websocket(a) as line:
            for _ in range(200):
                if not a.goes_on or not a.write(line, data):
                    break


def websocket_parts(a: Attack) -> None:
    """Messages that never end, each from another client."""
    kept: list[Line] = []
    while a.goes_on:
        line = _websocket(a)
        a.write(line, b"\x02\xff" + (8 * MIB).to_bytes(8, "big") + bytes(4) + bytes(4 * MIB))
        kept.append(line)
        if len(kept) > 50:
            kept.pop(0).close()


def web_requests(a: Attack) -> None:
    """Requests that never end, and such that are none."""
    while a.goes_on:
        for text in (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000, b"GET " + b"/" * MIB, b"POST /"):
            with Line(a.addr) as line:
                a.write(line, text)


def by_name(*funcs: Callable[[Attack], None]) -> dict[str, Callable[[Attack], None]]:
    """Attacks by the names that the command line knows."""
    return {func.__name__.replace("_", "-"): func for func in funcs}


ATTACKS = by_name(
    hello_command_reset,
    commands_while_pending,
    commands_without_handlers,
    large_hellos,
    half_frames,
    threads_and_leave,
    tasks_and_leave,
    questions_about_namesakes,
    renames_to_a_common_name,
    names_like_addresses,
    guessed_addresses,
    rate_by_coming_back,
    forged_logs,
    renames_to_admin,
    cancelled_authentication,
    silent_connections,
    tiny_frames_of_tasks,
    calls_of_which_no_reply_is_read,
    streams_that_are_not_read,
    confirmed_messages_of_new_clients,
    confirmed_messages_behind_a_handler,
    slow_readers,
    one_byte_at_a_time,
    websocket_pings,
    websocket_parts,
    web_requests,
)
