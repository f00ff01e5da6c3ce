"""What is built is what the wire format says, and what cannot be said is refused."""

from __future__ import annotations

import pytest
from support.wire import frame

from framing.cores import Core
from hisock._framing_common import MOST_HEADERS

ALLOWED = [
    "a",
    "move",
    "$",
    "price in $",
    "$x",
    "a$$b",
    "$$",
    "ඞ",
    "naïve",
    "x" * 5000,
    "a b\n",
    "\0",
]
REFUSED = ["", "$x$", "a$b$c", "$CMD$", "$MSG$x", "$$$", "ends with$MSG", "half \ud800 a pair"]


@pytest.mark.parametrize(
    ("length", "header_len", "header"),
    [
        (0, 1, b"0"),
        (7, 4, b"7   "),
        (9999, 4, b"9999"),
        (64, 16, b"64              "),
        (10**19, 20, b"10000000000000000000"),
        (10**20 - 1, 20, b"9" * 20),
    ],
)
def test_a_header_is_digits_padded_with_spaces(
    core: Core, length: int, header_len: int, header: bytes
) -> None:
    assert core.build_header(length, header_len) == header


def test_a_header_has_16_bytes_unless_told_otherwise(core: Core) -> None:
    assert core.build_header(5) == b"5".ljust(16)


@pytest.mark.parametrize(("length", "header_len"), [(10, 1), (10**16, 16), (10**20, 20)])
def test_a_length_with_more_digits_than_the_header_is_refused(
    core: Core, length: int, header_len: int
) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes does not fit in a header of"):
        core.build_header(length, header_len)


def test_a_negative_length_is_refused(core: Core) -> None:
    with pytest.raises(ValueError, match="cannot be -1 bytes long"):
        core.build_header(-1)


@pytest.mark.parametrize("header_len", [0, 21, -1, 10**30])
def test_a_header_length_outside_1_to_20_is_refused_everywhere(core: Core, header_len: int) -> None:
    text = f"header_len must be 1 to 20, not {header_len}"
    with pytest.raises(ValueError, match=text):
        core.build_header(1, header_len)
    with pytest.raises(ValueError, match=text):
        core.build_command("a", None, header_len)
    with pytest.raises(ValueError, match=text):
        core.build_raw(b"a", header_len)
    with pytest.raises(ValueError, match=text):
        core.Decoder(header_len)
    with pytest.raises(ValueError, match=text):
        core.Outbox([], None, lambda: None, header_len)


@pytest.mark.parametrize("command", ALLOWED)
@pytest.mark.parametrize(
    "message", [None, b"", b"north", b"$MSG$", bytes(range(256)), b"x" * 40_000]
)
@pytest.mark.parametrize("header_len", [5, 16, 20])
def test_a_command_frame_is_header_mark_command_mark_message(
    core: Core, command: str, message: bytes | None, header_len: int
) -> None:
    payload = b"$CMD$" + command.encode()
    if message is not None:
        payload += b"$MSG$" + message
    built = core.build_command(command, message, header_len)
    assert built == frame(payload, header_len)
    assert type(built) is bytes


@pytest.mark.parametrize("command", ALLOWED)
@pytest.mark.parametrize("message", [None, b"", b"$MSG$"])
def test_what_was_built_is_read_back(core: Core, command: str, message: bytes | None) -> None:
    built = core.build_command(command, message)
    assert core.Decoder().feed(built) == [(command, message)]


@pytest.mark.parametrize("command", REFUSED)
def test_a_command_that_could_not_be_read_back_is_refused(core: Core, command: str) -> None:
    with pytest.raises(ValueError, match="command") as checked:
        core.check_command(command)
    with pytest.raises(ValueError, match="command") as built:
        core.build_command(command)
    assert type(checked.value) is type(built.value) is ValueError
    assert str(checked.value) == str(built.value)


@pytest.mark.parametrize("command", [b"move", None, 5, ["move"]])
def test_a_command_that_is_not_text_is_refused(core: Core, command: object) -> None:
    with pytest.raises(TypeError, match="a command must be str, not "):
        core.check_command(command)
    with pytest.raises(TypeError, match="a command must be str, not "):
        core.build_command(command)


@pytest.mark.parametrize("message", ["text", bytearray(b"x"), memoryview(b"x"), 5, [b"x"]])
def test_a_message_that_is_not_bytes_is_refused(core: Core, message: object) -> None:
    with pytest.raises(TypeError, match="a message must be bytes or None, not "):
        core.build_command("move", message)


def test_a_command_that_passes_the_check_says_nothing(core: Core) -> None:
    core.check_command("move")


def test_a_subclass_of_str_or_bytes_is_as_good(core: Core) -> None:
    class Name(str):
        __slots__ = ()

    class Body(bytes):
        __slots__ = ()

    assert core.build_command(Name("move"), Body(b"north")) == frame(b"$CMD$move$MSG$north")
    assert core.build_raw(Body(b"north")) == frame(b"north")


@pytest.mark.parametrize("payload", [b"", b"$KEEPALIVE$", b'{"ip": null}', bytes(1000)])
def test_a_raw_frame_is_header_and_payload(core: Core, payload: bytes) -> None:
    assert core.build_raw(payload) == frame(payload)
    assert core.build_raw(payload, 5) == frame(payload, 5)
    assert core.Decoder().feed(core.build_raw(payload)) == [(None, payload)]


def test_a_raw_payload_must_be_bytes(core: Core) -> None:
    with pytest.raises(TypeError, match="a payload must be bytes, not str"):
        core.build_raw("text")


def test_a_payload_too_long_for_the_header_is_refused(core: Core) -> None:
    with pytest.raises(ValueError, match="10 bytes does not fit in a header of 1 digits"):
        core.build_raw(bytes(10), 1)
    with pytest.raises(ValueError, match="10 bytes does not fit in a header of 1 digits"):
        core.build_command("abcde", None, 1)
    assert core.build_command("abcd", None, 1) == b"9$CMD$abcd"


def test_more_lengths_than_are_remembered_are_built_and_read_all_the_same(core: Core) -> None:
    """What is remembered is bounded, and starts anew when it is full."""
    sizes = range(MOST_HEADERS + 300)
    decoder = core.Decoder()
    message = bytes(len(sizes))
    for size in sizes:
        built = core.build_command("c", message[:size])
        # Twice: once to remember the header, once to find it.
        assert [len(got or b"") for _, got in decoder.feed(built * 2)] == [size, size]


def test_more_beginnings_of_frames_than_are_remembered_are_read_all_the_same(core: Core) -> None:
    decoder = core.Decoder()
    for number in range(MOST_HEADERS // 50 + 9):
        for size in range(50):
            built = core.build_command(f"command{number:03}", bytes(size + 1))
            assert decoder.feed(built) == [(f"command{number:03}", bytes(size + 1))]
