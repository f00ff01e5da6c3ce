"""Frames come out as they were sent, whatever the split; what is no frame ends the stream."""

from __future__ import annotations

import array
import sys

import pytest
from support.wire import frame

from framing.cores import HEADER_LEN, Core, Outcome, cut, fed, received
from hisock.framing import FramingError

BODIES = [
    (b"$CMD$move$MSG$north", ("move", b"north")),
    (b"$CMD$move$MSG$", ("move", b"")),
    (b"$CMD$move", ("move", None)),
    (b"$CMD$a$MSG$b$MSG$c", ("a", b"b$MSG$c")),
    (b"$CMD$a$$MSG$b", ("a$", b"b")),
    (b"$CMD$a$MSG$$", ("a", b"$")),
    (b"$CMD$MSG$", ("MSG$", None)),
    (b"$CMD$a$MSG", ("a$MSG", None)),
    (b"$CMD$$", ("$", None)),
    (b"$CMD$$$", ("$$", None)),
    (b"$CMD$ $MSG$ ", (" ", b" ")),
    ("$CMD$ඞ$MSG$ඞ".encode(), ("ඞ", "ඞ".encode())),
    (b"$CMD$a$MSG$\xff\x00", ("a", b"\xff\x00")),
    (b"$KEEPALIVE$", (None, b"$KEEPALIVE$")),
    (b"$CMD", (None, b"$CMD")),
    (b"$cmd$x", (None, b"$cmd$x")),
    (b"$MSG$x", (None, b"$MSG$x")),
    (b"", (None, b"")),
    (b"x" * 100_000, (None, b"x" * 100_000)),
    (b"$CMD$" + b"x" * 100_000, ("x" * 100_000, None)),
    (b"$CMD$big$MSG$" + b"x" * 200_000, ("big", b"x" * 200_000)),
]


def test_each_kind_of_payload_gives_its_frame(core: Core) -> None:
    for payload, expected in BODIES:
        assert core.Decoder().feed(frame(payload)) == [expected]


def test_frames_come_in_order_and_count_into_the_position(core: Core) -> None:
    stream = b"".join(frame(payload) for payload, _ in BODIES)
    decoder = core.Decoder()
    assert decoder.feed(stream) == [expected for _, expected in BODIES]
    assert (decoder.position, decoder.pending, decoder.error) == (len(stream), 0, None)
    decoder.eof()


@pytest.mark.parametrize("size", [1, 2, 3, 15, 16, 17, 33, 1000, 65536])
@pytest.mark.parametrize("way", [fed, received])
def test_the_split_changes_nothing(core: Core, size: int, way: object) -> None:
    bodies = BODIES if size > 2 else BODIES[:-3]
    stream = b"".join(frame(payload) for payload, _ in bodies)
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    expected = Outcome([expected for _, expected in bodies], None, len(stream), 0, None)
    assert callable(way)
    assert way(core.Decoder(), chunks) == expected


@pytest.mark.parametrize("header_len", range(1, 21))
def test_every_header_length_works(core: Core, header_len: int) -> None:
    payloads = [b"", b"$CMD$abc", b"x" * 9]
    stream = b"".join(frame(payload, header_len) for payload in payloads)
    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        outcome = fed(core.Decoder(header_len), chunks)
        assert outcome.frames == [(None, b""), ("abc", None), (None, b"x" * 9)]


def test_leading_zeros_and_headers_full_of_digits_are_lengths(core: Core) -> None:
    assert core.Decoder(4).feed(b"0003abc3   abc003 abc") == [(None, b"abc")] * 3
    assert core.Decoder(20).feed(b"00000000000000000003abc") == [(None, b"abc")]


@pytest.mark.parametrize(
    "header", [b"+3", b"-3", b"3_0", b" 3", b"\t3", b"3\t", b"3 0", b"", b"3.0", b"0x3", b"\xb23"]
)
@pytest.mark.parametrize("header_len", [3, 4, 8, 9, 12, 16, 17, 20])
def test_a_header_that_is_not_digits_and_spaces_is_an_error(
    core: Core, header: bytes, header_len: int
) -> None:
    padded = header.ljust(header_len)
    good = frame(b"ok", header_len)
    digits = len(header) - len(header.lstrip(b"0123456789"))
    spaces = len(header[digits:]) - len(header[digits:].lstrip(b" ")) if digits else 0
    bad = digits + spaces
    decoder = core.Decoder(header_len)
    assert decoder.feed(good + padded + b"abc") == [(None, b"ok")]
    with pytest.raises(FramingError) as caught:
        decoder.feed(b"")
    assert caught.value.position == len(good) + bad
    assert caught.value.reason == (
        f"bad header {padded!r}: expected one or more digits and then only spaces, "
        f"found {padded[bad : bad + 1]!r}"
    )


@pytest.mark.parametrize("bad", range(HEADER_LEN))
def test_a_wrong_byte_anywhere_in_a_header_is_found(core: Core, bad: int) -> None:
    for header in (b"1".ljust(16), b"123456789".ljust(16), b"0" * 16):
        broken = header[:bad] + b"x" + header[bad + 1 :]
        with pytest.raises(FramingError) as caught:
            core.Decoder().feed(broken)
        assert caught.value.position == bad


@pytest.mark.parametrize("header_len", [16, 20])
def test_a_wrong_byte_anywhere_in_the_padding_is_found(core: Core, header_len: int) -> None:
    for bad in range(1, header_len):
        header = b"1".ljust(header_len)
        with pytest.raises(FramingError) as caught:
            core.Decoder(header_len).feed(header[:bad] + b"\0" + header[bad + 1 :])
        assert caught.value.position == bad


def test_a_bad_header_is_reported_when_all_of_it_has_come(core: Core) -> None:
    decoder = core.Decoder()
    assert decoder.feed(b"GET / HTTP/1.1\r") == []
    assert decoder.error is None
    with pytest.raises(FramingError, match=r"found b'G' \(at byte 0 of the stream\)"):
        decoder.feed(b"\n")


def test_a_frame_over_the_limit_is_an_error_at_its_header(core: Core) -> None:
    decoder = core.Decoder(max_frame_size=10)
    assert decoder.feed(frame(b"0123456789") + b"11".ljust(16)) == [(None, b"0123456789")]
    with pytest.raises(FramingError) as caught:
        decoder.feed(b"0")
    assert caught.value.reason == "a frame of 11 bytes is announced, the limit is 10 bytes"
    assert caught.value.position == decoder.position == 26


@pytest.mark.parametrize(
    "length",
    [2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 5, 10**19, 10**20 - 1],
)
def test_lengths_beyond_64_bits_do_not_wrap_around(core: Core, length: int) -> None:
    with pytest.raises(FramingError, match=f"a frame of {length} bytes is announced"):
        core.Decoder(20).feed(str(length).encode().ljust(20) + b"12345")


def test_a_limit_beyond_what_memory_can_hold_means_none(core: Core) -> None:
    decoder = core.Decoder(20, 10**40)
    assert decoder.feed(str(sys.maxsize).encode().ljust(20) + b"12345") == []
    assert decoder.pending == 25


@pytest.mark.parametrize("limit", [0, -1, -(10**30)])
def test_a_limit_below_one_is_refused(core: Core, limit: int) -> None:
    with pytest.raises(ValueError, match=f"max_frame_size must be at least 1, not {limit}"):
        core.Decoder(16, limit)


@pytest.mark.parametrize(
    ("command", "offset", "reason"),
    [
        (b"", 0, "the command of a $CMD$ frame is empty"),
        (b"$x$", 0, "the command b'$x$' holds a $...$ pair, which is reserved"),
        (b"a$b$c", 0, "the command b'a$b$c' holds a $...$ pair, which is reserved"),
        (b"ab\xff", 2, "the command b'ab\\xff' is not UTF-8: invalid start byte"),
        (b"\xc3", 0, "the command b'\\xc3' is not UTF-8: unexpected end of data"),
        (
            b"x\xed\xa0\x80",
            1,
            "the command b'x\\xed\\xa0\\x80' is not UTF-8: invalid continuation byte",
        ),
        (b"$\xff$", 1, "the command b'$\\xff$' is not UTF-8: invalid start byte"),
        (
            b"$" + b"y" * 100 + b"$",
            0,
            f"the command {b'$' + b'y' * 63!r}... holds a $...$ pair, which is reserved",
        ),
    ],
)
@pytest.mark.parametrize("message", [b"", b"$MSG$", b"$MSG$hello"])
def test_a_command_that_is_not_allowed_is_an_error_at_its_first_wrong_byte(
    core: Core, command: bytes, offset: int, reason: str, message: bytes
) -> None:
    good = frame(b"$CMD$ok")
    stream = good + frame(b"$CMD$" + command + message) + frame(b"$CMD$never")
    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        outcome = fed(core.Decoder(), chunks)
        assert outcome.frames == [("ok", None)]
        assert outcome.error == (reason, len(good) + HEADER_LEN + 5 + offset)
        assert (outcome.position, outcome.pending) == (len(good), 0)


def test_an_error_waits_until_the_frames_before_it_are_delivered(core: Core) -> None:
    decoder = core.Decoder()
    assert decoder.feed(frame(b"$CMD$a") * 3 + b"?" * 16) == [("a", None)] * 3
    assert decoder.error is not None
    assert decoder.error.position == decoder.position == 3 * 22
    with pytest.raises(FramingError) as caught:
        decoder.feed(frame(b"$CMD$a"))
    assert str(caught.value) == str(decoder.error)


@pytest.mark.parametrize("size", [1, 10, 1000, 65536])
def test_all_frames_before_an_error_come_out(core: Core, size: int) -> None:
    stream = b"".join(frame(b"$CMD$n$MSG$%d" % n) for n in range(1000)) + b"x" * 16
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    outcome = fed(core.Decoder(), chunks)
    assert outcome.frames == [("n", b"%d" % n) for n in range(1000)]
    assert outcome.error is not None
    assert outcome.error[1] == outcome.position == len(stream) - 16


def test_after_an_error_every_call_raises_it(core: Core) -> None:
    decoder = core.Decoder()
    with pytest.raises(FramingError) as first:
        decoder.feed(b"?" * 16)
    view = decoder.get_buffer()
    assert len(view) > 0
    for call in (
        lambda: decoder.feed(b""),
        lambda: decoder.feed(frame(b"$CMD$a")),
        lambda: decoder.buffer_updated(1),
        decoder.eof,
    ):
        with pytest.raises(FramingError) as again:
            call()
        assert str(again.value) == str(first.value)
    assert decoder.pending == 0


def test_a_stream_may_end_between_frames_only(core: Core) -> None:
    stream = frame(b"$CMD$a") + frame(b"0123456789")
    decoder = core.Decoder()
    for at in range(len(stream) + 1):
        if at:
            decoder.feed(stream[at - 1 : at])
        inside = at - 22 if at >= 22 else at
        length = 6 if at < 22 else 10
        if inside == 0 or at == len(stream):
            decoder.eof()
        elif inside < HEADER_LEN:
            with pytest.raises(FramingError) as caught:
                decoder.eof()
            assert caught.value.reason == (
                f"the stream ended inside a header: {inside} of 16 bytes came"
            )
            assert caught.value.position == at
        else:
            with pytest.raises(FramingError) as caught:
                decoder.eof()
            assert caught.value.reason == (
                f"the stream ended inside a payload: {inside - 16} of {length} bytes came"
            )
            assert caught.value.position == at


def test_pending_counts_what_came_of_an_incomplete_frame(core: Core) -> None:
    stream = frame(b"$CMD$a$MSG$0123456789")
    decoder = core.Decoder()
    for n in range(1, len(stream)):
        assert decoder.feed(stream[n - 1 : n]) == []
        assert (decoder.pending, decoder.position) == (n, 0)
    assert decoder.feed(stream[-1:]) == [("a", b"0123456789")]
    assert (decoder.pending, decoder.position) == (0, len(stream))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda b: memoryview(b)[:]])
def test_whatever_holds_contiguous_bytes_can_be_fed(core: Core, wrap: object) -> None:
    assert callable(wrap)
    assert core.Decoder().feed(wrap(frame(b"$CMD$a"))) == [("a", None)]


def test_an_array_of_numbers_is_fed_as_its_bytes(core: Core) -> None:
    numbers = array.array("I")
    numbers.frombytes(frame(b"$CMD$abc"))
    assert core.Decoder().feed(numbers) == [("abc", None)]


def test_what_is_not_contiguous_bytes_is_refused(core: Core) -> None:
    with pytest.raises(BufferError):
        core.Decoder().feed(memoryview(bytes(64))[::2])
    with pytest.raises(TypeError):
        core.Decoder().feed("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        core.Decoder().feed(None)  # type: ignore[arg-type]


def test_nothing_fed_gives_nothing(core: Core) -> None:
    decoder = core.Decoder()
    assert decoder.feed(b"") == []
    assert (decoder.position, decoder.pending) == (0, 0)


def test_frames_do_not_depend_on_the_buffer_they_came_in(core: Core) -> None:
    data = bytearray(frame(b"$CMD$a$MSG$hello"))
    frames = core.Decoder().feed(data)
    data[:] = bytes(len(data))
    assert frames == [("a", b"hello")]


def test_equal_commands_are_one_object(core: Core) -> None:
    scratch = core.Scratch()
    stream = frame(b"$CMD$move$MSG$1") + frame("$CMD$größe".encode())
    first = core.Decoder(scratch=scratch).feed(stream)
    second = core.Decoder(scratch=scratch).feed(stream)
    assert [a[0] is b[0] for a, b in zip(first, second, strict=True)] == [True, True]


def test_commands_without_end_are_read_right_all_the_same(core: Core) -> None:
    decoder = core.Decoder()
    names = [f"c{i}" for i in range(5000)] * 2
    assert decoder.feed(b"".join(core.build_command(name) for name in names)) == [
        (name, None) for name in names
    ]


def test_a_remembered_command_does_not_hide_where_the_message_begins(core: Core) -> None:
    decoder = core.Decoder()
    for _ in range(3):
        stream = frame(b"$CMD$a$MSG") + frame(b"$CMD$a$MSG$MSG$x") + frame(b"$CMD$a$MSG$")
        assert decoder.feed(stream) == [("a$MSG", None), ("a", b"MSG$x"), ("a", b"")]


def test_commands_that_share_a_slot_are_told_apart(core: Core) -> None:
    decoder = core.Decoder()
    names = [f"m{a}{b}{c}e" for a in "abcd" for b in "opqr" for c in "wxyz"]
    for _ in range(2):
        stream = b"".join(core.build_command(name, b"1") for name in names)
        assert [command for command, _ in decoder.feed(stream)] == names


def test_decoders_of_different_wires_may_share_a_scratch(core: Core) -> None:
    """What one has learnt of its frames holds for others only where they mean the same."""
    scratch = core.Scratch()
    stream = core.build_command("move", b"north") * 3
    assert core.Decoder(scratch=scratch).feed(stream) == [("move", b"north")] * 3
    # The same bytes with a shorter header: the first 10 are one, of 19 bytes that come after.
    short = core.Decoder(header_len=10, scratch=scratch)
    assert short.feed(stream[:29]) == [(None, stream[10:29])]
    with pytest.raises(FramingError, match="the limit is 18 bytes"):
        core.Decoder(max_frame_size=18, scratch=scratch).feed(stream)
    assert core.Decoder(scratch=scratch).feed(stream) == [("move", b"north")] * 3


def test_frames_that_begin_alike_may_be_cut_anywhere(core: Core) -> None:
    """The beginning is known from the first; the rest is there, or it is not."""
    message = core.build_command("move", b"north")
    empty = core.build_command("move", b"")
    stream = message * 3 + empty * 2 + message
    expected = [("move", b"north")] * 3 + [("move", b"")] * 2 + [("move", b"north")]
    for at in range(len(stream) + 1):
        decoder = core.Decoder(scratch=core.Scratch())
        assert decoder.feed(stream) == expected
        assert decoder.feed(stream[:at]) + decoder.feed(stream[at:]) == expected
        assert (decoder.position, decoder.pending) == (2 * len(stream), 0)


def test_a_scratch_of_the_other_kind_is_refused(core: Core) -> None:
    with pytest.raises(TypeError):
        core.Decoder(scratch=object())  # type: ignore[arg-type]


def test_the_error_is_a_value_error_of_ours(core: Core) -> None:
    from hisock.exceptions import HiSockError

    with pytest.raises(ValueError, match="bad header") as caught:
        core.Decoder(1).feed(b"x")
    assert isinstance(caught.value, HiSockError)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("cuts", [[], [1], [7, 16], list(range(1, 30))])
def test_the_first_frame_may_have_a_limit_of_its_own(core: Core, cuts: list[int]) -> None:
    stream = frame(b"12345") + frame(b"123456") + frame(b"1234567")
    outcome = fed(core.Decoder(16, 6, None, 5), cut(stream, cuts))
    assert outcome.frames == [(None, b"12345"), (None, b"123456")]
    assert outcome.error == ("a frame of 7 bytes is announced, the limit is 6 bytes", 43)
    outcome = fed(core.Decoder(16, 6, None, 4), cut(stream, cuts))
    assert outcome.frames == []
    assert outcome.error == ("a frame of 5 bytes is announced, the limit is 4 bytes", 0)


def test_the_limit_of_the_first_frame_raises_no_other(core: Core) -> None:
    with pytest.raises(FramingError, match="a frame of 5 bytes is announced, the limit is 4"):
        core.Decoder(16, 4, None, 100).feed(frame(b"12345"))
    with pytest.raises(ValueError, match="max_frame_size must be at least 1"):
        core.Decoder(16, 4, None, 0)
