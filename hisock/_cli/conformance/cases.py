"""What is sent to the client under test, and what has to come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from hisock._cli.conformance.lines import Failure, TestedConnection, command_frame, frame


@dataclass(frozen=True)
class Case:
    """One connection.

    :ivar check: talks with the client, and raises :class:`Failure`.
    :ivar feature: what the client has to know for it, if anything.
    :ivar closes: the client itself ends the connection.
    """

    name: str
    check: Callable[[TestedConnection], None]
    feature: str | None = None
    closes: bool = False


def cases() -> Iterator[Case]:
    """All of them, in the order in which they are run."""
    for name, message in _MESSAGES.items():
        yield Case(f"a message: {name}", _echo(message))
    yield Case("frames that come together", _together)
    yield Case("frames that come byte by byte", _byte_by_byte)
    yield Case("$KEEPALIVE$ is answered by $KEEPACK$", _keepalive)
    yield Case("other clients come and go", _news)
    yield Case("what is not known is skipped", _unknown)
    yield Case("a command leave: it says $USRCLOSE$", _leave, closes=True)
    yield Case("$DISCONN$ ends the connection", _disconnected, closes=True)
    yield Case("a call is answered", _call, "call")
    yield Case("a call that fails is answered", _failing_call, "call")
    yield Case("a call that nobody handles is answered", _unknown_call, "call")
    yield Case("replies come in any order", _questions, "call")
    yield Case("a failed reply is told", _failed_question, "call")
    yield Case("$REJECT$ ends the connection", _rejected, "reject", closes=True)
    for vector in _vectors():
        if "call" in vector["name"] or "reply" in vector["name"]:
            continue  # of a conversation that there is none of; the cases above have theirs
        if vector["error"]:
            yield Case(f"bad: {vector['name']}", _bad(vector), closes=True)
        else:
            yield Case(f"frames: {vector['name']}", _good(vector))


def _vectors() -> list[dict[str, Any]]:
    path = files("hisock._cli.conformance") / "vectors.json"
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["vectors"]
    return found


_MESSAGES: dict[str, bytes | None] = {
    "text": b"hello",
    "none": None,
    "empty": b"",
    "UTF-8": "h\u00e9llo \U0001f600".encode(),
    "JSON": b'{"x": [1, 2.5, null]}',
    "every byte": bytes(range(256)),
    "$MSG$ inside": b"a$MSG$b$CMD$c",
    "a million bytes": b"0123456789" * 100_000,
}


def _echo(message: bytes | None) -> Callable[[TestedConnection], None]:
    def check(line: TestedConnection) -> None:
        line.send(command_frame("echo", message))
        line.expect_heard("echo", message or b"")

    return check


def _together(line: TestedConnection) -> None:
    line.send(b"".join(command_frame("echo", b"%d" % number) for number in range(1000)))
    for number in range(1000):
        line.expect_heard("echo", b"%d" % number)


def _byte_by_byte(line: TestedConnection) -> None:
    for byte in command_frame("echo", b"one") + command_frame("echo", b"two"):
        line.send(bytes([byte]))
    line.expect_heard("echo", b"one")
    line.expect_heard("echo", b"two")


def _keepalive(line: TestedConnection) -> None:
    for _ in range(3):
        line.send(frame(b"$KEEPALIVE$"))
        line.expect(None, b"$KEEPACK$")


def _news(line: TestedConnection) -> None:
    info = b'{"ip": ["10.0.0.7", 40000], "name": "Bob", "group": null}'
    line.send(frame(b"$CLTCONN$" + info) + frame(b"$CLTDISCONN$" + info))
    _echo(b"still here")(line)


def _unknown(line: TestedConnection) -> None:
    line.send(frame(b"$REPLY$999$MSG$late") if "call" in line.features else frame(b""))
    line.send(frame(b"no name") + frame(b"$FROMTHEFUTURE$x"))
    _echo(b"still here")(line)


def _leave(line: TestedConnection) -> None:
    line.send(command_frame("leave"))
    line.expect(None, b"$USRCLOSE$")
    line.send(frame(b"$DISCONN$"))
    line.expect_close()


def _disconnected(line: TestedConnection) -> None:
    line.send(frame(b"$DISCONN$"))
    line.expect_close()


def _rejected(line: TestedConnection) -> None:
    line.send(frame(b"$REJECT$not today") + frame(b"$DISCONN$"))
    line.expect_close()


def _call(line: TestedConnection) -> None:
    line.send(frame(b"$CALL$7$CMD$reply$MSG$hello") + frame(b"$CALL$8$CMD$reply"))
    got = [line.read(), line.read()]
    replies = {heard.message for heard in got if heard is not None}
    nothing = {b"$REPLY$8", b"$REPLY$8$MSG$"}
    if b"$REPLY$7$MSG$hello" not in replies or not replies & nothing:
        raise Failure(f"expected the replies to 7 and 8, got {sorted(replies)}")


def _failing_call(line: TestedConnection) -> None:
    line.send(frame(b"$CALL$3$CMD$fail$MSG$x"))
    _expect_error(line, b"$REPLY$3")


def _unknown_call(line: TestedConnection) -> None:
    line.send(frame(b"$CALL$4$CMD$nobody knows this"))
    _expect_error(line, b"$REPLY$4")


def _expect_error(line: TestedConnection, start: bytes) -> None:
    got = line.read()
    if got is None or not got.message.startswith((start + b"$ERR$", start + b"$EXC$")):
        raise Failure(f"expected {start!r} with an error, got {got}")


def _questions(line: TestedConnection) -> None:
    numbers = [_question(line, word) for word in (b"first", b"second")]
    for number, word in zip(reversed(numbers), (b"2", b"1"), strict=True):
        line.send(frame(b"$REPLY$%b$MSG$%b" % (number, word)))
    answers = [line.read(), line.read()]
    if {heard.message for heard in answers if heard} != {b"1", b"2"}:
        raise Failure(f"expected answered with 1 and with 2, got {answers}")


def _failed_question(line: TestedConnection) -> None:
    number = _question(line, b"anything")
    line.send(frame(b"$REPLY$%b$ERR$no idea" % number))
    got = line.read()
    if got is None or got.command != "failed" or b"no idea" not in got.message:
        raise Failure(f"expected the command failed with the text of the error, got {got}")


def _question(line: TestedConnection, word: bytes) -> bytes:
    """Have the client call ``question``; the number of its call."""
    line.send(command_frame("ask", word))
    got = line.read()
    head, _, rest = (got.message if got else b"").partition(b"$CMD$")
    number = head.removeprefix(b"$CALL$")
    if not number.isdigit() or rest != b"question$MSG$" + word:
        raise Failure(f"expected a call of question with {word!r}, got {got}")
    return number


def _good(vector: dict[str, Any]) -> Callable[[TestedConnection], None]:
    def check(line: TestedConnection) -> None:
        line.send(bytes.fromhex(vector["stream"]))
        for each in vector["frames"]:
            message = bytes.fromhex(each["message"] or "")
            if each["command"] is not None:
                line.expect_heard(each["command"], message)
            elif message == b"$KEEPALIVE$":
                line.expect(None, b"$KEEPACK$")
        _echo(b"still here")(line)

    return check


def _bad(vector: dict[str, Any]) -> Callable[[TestedConnection], None]:
    """The client may end before it has answered what came before the fault."""

    def check(line: TestedConnection) -> None:
        line.send(bytes.fromhex(vector["stream"]))
        for each in vector["frames"]:
            answer = each["command"].encode() + b"\n" + bytes.fromhex(each["message"] or "")
            got = line.read()
            if got is None:
                return
            if got != ("heard", answer):
                raise Failure(f"expected heard with {answer!r}, got {got}")
        if line.read() is not None:
            raise Failure("it goes on after a fault; it has to close the connection")

    return check
