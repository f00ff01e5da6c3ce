"""Many frames that begin alike and are as long are read like all others."""

from __future__ import annotations

import pytest
from support.wire import frame

from framing.cores import Core

ALIKE = frame(b"$CMD$move$MSG$" + b"x" * 64)
_BEGINNING = ALIKE[:-64]


@pytest.mark.parametrize(
    "between",
    [
        b"",
        frame(b"$CMD$mope$MSG$" + b"x" * 64),
        frame(b"$CMD$move$MSG$" + _BEGINNING + b"y" * (64 - len(_BEGINNING))),
        # As long as two, but not cut in the middle.
        frame(b"$CMD$move$MSG$" + b"y" * 54) + frame(b"$CMD$move$MSG$" + b"y" * 74),
        frame(b"$CMD$move$MSG$" + b"y" * (2 * 64 - 3 * len(_BEGINNING) // 2)),
        frame(b"$CMD$move$MSG$" + b"y" * (64 - len(_BEGINNING)) + _BEGINNING + b"y" * 64)[:-1]
        + b"z",
        frame(b"$KEEPALIVE$" + b"x" * (len(ALIKE) - 27)),
        b"%-16d" % 78 + b"$CMD$move$MSG$" + b"z" * 64,
        b"%016d" % 78 + b"$CMD$move$MSG$" + b"z" * 64,
    ],
)
@pytest.mark.parametrize("at", [1, 100, 298, 299])
def test_many_frames_that_are_alike_hide_no_other(core: Core, between: bytes, at: int) -> None:
    stream = ALIKE * at + between + ALIKE * (300 - at)
    bit_by_bit, decoder = core.Decoder(), core.Decoder()
    frames = bit_by_bit.feed(ALIKE)
    assert decoder.feed(ALIKE) == frames
    for start in range(0, len(stream), 50):
        frames += bit_by_bit.feed(stream[start : start + 50])
    assert decoder.feed(stream[:20000]) + decoder.feed(stream[20000:]) == frames[1:]
    assert (decoder.position, decoder.pending) == (len(ALIKE + stream), 0)


def test_an_error_among_frames_that_are_alike_is_found_at_its_place(core: Core) -> None:
    bad = b"7x" + ALIKE[2:]
    decoder = core.Decoder()
    decoder.feed(ALIKE)
    assert decoder.feed(ALIKE * 100 + bad + ALIKE * 100) == [("move", b"x" * 64)] * 100
    assert decoder.position == 101 * len(ALIKE)
    assert decoder.error is not None
    assert decoder.error.position == decoder.position + 1


def test_many_frames_without_messages_are_read(core: Core) -> None:
    for payload, expected in ((b"$CMD$go$MSG$", ("go", b"")), (b"$CMD$go", ("go", None))):
        decoder = core.Decoder()
        decoder.feed(frame(payload))
        assert decoder.feed(frame(payload) * 1000) == [expected] * 1000
