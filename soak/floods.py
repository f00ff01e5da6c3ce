"""More attackers of ``python -m soak.attacks``: a hundred at once, and frames nobody expects."""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
from itertools import count

from soak.attackers import FEATURES, MIB, Attack, by_name
from soak.wire import Line, command_frame, frame, hello_frame


def _flood(a: Attack, data: bytes, reading: bool, **hello: object) -> None:
    """Write the same by a hundred connections at once, each as fast as it is taken."""
    selector = selectors.DefaultSelector()
    sent: dict[Line, int] = {}

    def add(number: int) -> None:
        line = Line.joined(a.addr, f"flood {number}", **hello)
        line.sock.setblocking(False)
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reading else 0)
        selector.register(line.sock, events, line)
        sent[line] = 0
        a.did["connections"] += 1

    for number in range(100):
        add(number)
    while a.goes_on:
        for key, events in selector.select(0.1):
            line: Line = key.data
            try:
                if events & selectors.EVENT_READ and not line.sock.recv(262144):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    at = sent[line] % len(data)
                    sent[line] += line.sock.send(data[at : at + 65536])
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(line.sock)
                line.close()
                a.did["MiB"] += sent.pop(line) // MIB
                add(random.randrange(100))
    a.did["MiB"] += sum(sent.values()) // MIB
    for line in sent:
        line.close()


def hundred_sending(a: Attack) -> None:
    """The shortest messages for a plain handler."""
    _flood(a, command_frame("count", b"1") * 3000, reading=False)


def hundred_talking(a: Attack) -> None:
    """Messages that are answered, with a search for the one to send to."""
    _flood(a, command_frame("say", b"1") * 3000, reading=True)


def hundred_calling(a: Attack) -> None:
    """Calls of a plain handler."""
    _flood(a, frame(b"$CALL$1$CMD$who$MSG$x") * 3000, reading=True, features=FEATURES)


def hundred_asking(a: Attack) -> None:
    """Questions for each other, which overtake what waits."""
    _flood(a, frame(b"$GETCLT$flood 7") * 3000, reading=True)


def hundred_starting_tasks(a: Attack) -> None:
    """Tasks of concurrent handlers."""
    _flood(a, command_frame("task", b"x") * 3000, reading=False)


def hundred_streaming(a: Attack) -> None:
    """Streams that are cancelled at once, and more of them."""
    each = b"".join(
        frame(b"$STREAM$%d$CMD$rows" % number)
        + frame(b"$MORE$%d" % number)
        + frame(b"$CANCEL$%d" % number)
        for number in range(1, 1000)
    )
    _flood(a, each, reading=True, features=FEATURES)


def hundred_cancelling(a: Attack) -> None:
    """Cancellations, replies, parts and confirmations of what there never was."""
    each = b"".join(
        frame(b"$CANCEL$%d" % number)
        + frame(b"$REPLY$%d$MSG$x" % number)
        + frame(b"$MORE$%d" % number)
        + frame(b"$KEEPACK$")
        for number in range(1, 1000)
    )
    _flood(a, each, reading=False, features=FEATURES)


def hundred_renaming(a: Attack) -> None:
    """New names and groups, which the program's function decides about."""
    each = b"".join(frame(b"$CHNAME$n%d" % n) + frame(b"$CHGROUP$g%d" % n) for n in range(1000))
    _flood(a, each, reading=True, features=[*FEATURES, "names"])


def frames_of_servers(a: Attack) -> None:
    """What only servers send: goodbyes, rejections, hellos, confirmations, announcements."""
    names = ("GOAWAY$5", "DISCONN$", "REJECT$no", "SRVHELLO${}", "ACK$99", "PART$1", "CLTCONN${}")
    while a.goes_on:
        for name in names:
            with Line.joined(a.addr, features=FEATURES) as line:
                a.write(line, frame(b"$" + name.encode()))
                a.did["answered"] += sum(1 for _ in line.frames(0.05))


def numbers_of_confirmed_messages(a: Attack) -> None:
    """Numbers that repeat, go back, leave some out, or are as long as may be."""
    for round_ in count():
        if not a.goes_on:
            return
        secret = os.urandom(8).hex()
        for numbers in ((1, 1, 1), (2, 1, 0), (10**19, 10**19 + 1), (1, 3), (10**19 + 1,)):
            with Line(a.addr) as line:
                hello = hello_frame("counting", features=FEATURES, resume=secret)
                frames = b"".join(frame(b"$SEND$%d$CMD$busy$MSG$x" % n) for n in numbers)
                a.write(line, hello + frames * (1 + round_ % 100))


def one_secret_of_many(a: Attack) -> None:
    """Each replaces the one before, and leaves work behind that the next one waits for."""
    secret = os.urandom(8).hex()
    lines: list[Line] = []
    for number in count(1):
        if not a.goes_on:
            break
        line = Line(a.addr)
        hello = hello_frame("again", features=FEATURES, resume=secret)
        a.write(line, hello + frame(b"$SEND$%d$CMD$busy$MSG$x" % number))
        lines.append(line)
        a.did["replaced"] += 1
        if len(lines) > 50:
            lines.pop(0).close()
    for line in lines:
        line.close()


def names_of_8_mib(a: Attack) -> None:
    """Names, groups, questions and commands that are as long as a frame may be."""
    wide = "\N{SNOWMAN}" * (2 * MIB)
    starts = ("$CHNAME$", "$CHGROUP$", "$GETCLT$", "$CMD$", "$CALL$1$CMD$", "$SEND$1$CMD$")
    while a.goes_on:
        for start in starts:
            with Line.joined(a.addr, features=FEATURES, resume=os.urandom(8).hex()) as line:
                a.write(line, frame((start + wide).encode()))
                a.did[start] += sum(1 for _ in line.frames(0.05)) > 0


def features_of_64_kib(a: Attack) -> None:
    """Hellos as long as may be, with thousands of features, or a long token or secret."""
    features = json.dumps({"name": "f", "features": [f"f{n}" for n in range(6000)]}).encode()
    long = {"name": "x" * 1024, "group": "y" * 1024, "features": FEATURES, "resume": "r" * 60_000}
    token = {"name": "x", "features": FEATURES, "token": "t" * 60_000}
    hellos = [features, json.dumps(long).encode(), json.dumps(token).encode()]
    while a.goes_on:
        for hello in hellos:
            line = Line(a.addr)
            a.write(line, frame(b"$CLTHELLO$" + hello))
            a.keep(line)


def traces_of_64_kib(a: Attack) -> None:
    """Calls with traces that are none, and with such that never end."""
    real = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    calls = b"".join(
        frame(b"$CALL$1$TRC$" + trace + b"$CMD$map$MSG$x")
        for trace in (real, b"0" * 65536, b"\n" * 55, b"ff" + real[2:], b"$CMD$" * 11)
    )
    while a.goes_on:
        with Line.joined(a.addr, features=[*FEATURES, "trace"]) as line:
            a.write(line, calls * 20)
            a.did["answers"] += sum(1 for _ in line.frames(0.05))


def commands_of_many_names(a: Attack) -> None:
    """Commands without handlers, each of another name, some of them 8 MiB long."""
    for number in count():
        if not a.goes_on:
            return
        line = a.line()
        names = b"".join(frame(b"$CMD$%d %d" % (number, n)) for n in range(20_000))
        if a.write(line, names):
            a.write(line, frame(b"$CMD$" + b"%d" % number + "\U0001f40d".encode() * (2 * MIB)))


def long_messages_and_leave(a: Attack) -> None:
    """Messages of 8 MiB, left behind with the ordered async handlers that run."""
    while a.goes_on:
        with Line.joined(a.addr) as line:
            a.write(line, command_frame("busy", bytes(8 * MIB)))


def rooms_by_the_thousand(a: Attack) -> None:
    """Rooms of ever new names, as long as may be and longer, entered and left or not."""
    for number in count():
        if not a.goes_on:
            return
        line = a.line()
        names = [f"{number} {n} ".ljust(1024, "\N{SNOWMAN}").encode() for n in range(100)]
        for name in names:
            frames = command_frame("enter", name) + command_frame("exit", name)
            a.write(line, frames + command_frame("enter", name))
        a.write(line, command_frame("enter", names[0] * 2) * 10 + command_frame("exit", b"x") * 10)


def admin_tokens(a: Attack) -> None:
    """Guesses at the token of administrators, who are let in even where a server is full."""
    while a.goes_on:
        with Line(a.addr) as line:
            token = str(random.random()).ljust(16, "0") * random.choice((1, 1000))
            hello = {"name": None, "group": None, "features": FEATURES, "admin": token}
            a.write(line, frame(b"$CLTHELLO$" + json.dumps(hello).encode()))
            with contextlib.suppress(StopIteration):
                if b"$REJECT$" not in next(line.frames(1.0)):
                    a.problems.append("a wrong token was let in")
            a.did["guesses"] += 1


ATTACKS = by_name(
    hundred_sending,
    hundred_talking,
    hundred_calling,
    hundred_asking,
    hundred_starting_tasks,
    hundred_streaming,
    hundred_cancelling,
    hundred_renaming,
    frames_of_servers,
    numbers_of_confirmed_messages,
    one_secret_of_many,
    names_of_8_mib,
    features_of_64_kib,
    traces_of_64_kib,
    commands_of_many_names,
    long_messages_and_leave,
    rooms_by_the_thousand,
    admin_tokens,
)
