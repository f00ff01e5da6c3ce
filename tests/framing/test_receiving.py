"""Receiving into a decoder's own memory: cheap, bounded, and safe whatever the caller does."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from support.wire import frame

from framing.cores import COMPILED, PYTHON, Core, fed, receive, received
from hisock._framing_common import FIRST_READ

SIZE = 1024  # of the scratch in these tests
HALF = SIZE // 2


@pytest.mark.parametrize("size", [1, 2, 3, 16, 100, 65536])
@pytest.mark.parametrize("step", [1, 7, 40, 100_000])
def test_receiving_gives_what_feeding_gives(core: Core, size: int, step: int) -> None:
    parts = [b"$CMD$a$MSG$b", b"", b"$CMD$big$MSG$" + bytes(range(256)) * 12, b"$RAW$", b"x" * 999]
    stream = b"".join(frame(part) for part in parts)
    chunks = [stream[i : i + step] for i in range(0, len(stream), step)]
    expected = fed(core.Decoder(), chunks)
    assert received(core.Decoder(scratch=core.Scratch(size)), chunks) == expected
    assert len(expected.frames) == len(parts)


def test_the_receive_buffer_is_shared_through_the_scratch(core: Core) -> None:
    scratch = core.Scratch(SIZE)
    assert scratch.size == SIZE
    one, two = core.Decoder(scratch=scratch), core.Decoder(scratch=scratch)
    assert one.get_buffer() is two.get_buffer()
    assert len(one.get_buffer()) == SIZE
    assert not one.get_buffer().readonly


def test_a_scratch_hands_out_less_for_a_while(core: Core) -> None:
    scratch = core.Scratch(SIZE)
    decoder = core.Decoder(scratch=scratch)
    stream = frame(b"$CMD$a$MSG$" + bytes(300)) * 3
    scratch.narrow(40)
    assert receive(decoder, stream[:450]) == 1
    view = decoder.get_buffer()
    assert len(view) == 40
    with pytest.raises(ValueError, match="41"):
        decoder.buffer_updated(41)
    view.release()
    assert len(decoder.get_buffer()) == SIZE, "a view that somebody released is made anew, whole"
    scratch.narrow(2 * SIZE)
    assert len(decoder.get_buffer()) == SIZE
    scratch.narrow(40)
    scratch.widen()
    assert len(decoder.get_buffer()) == SIZE
    assert receive(decoder, stream[450:]) == 2


def test_a_stream_whose_first_frame_is_bounded_is_received_in_short_reads_at_first(
    core: Core,
) -> None:
    scratch = core.Scratch(4 * FIRST_READ)
    decoder = core.Decoder(scratch=scratch, max_first_frame=100)
    stream = frame(b"$CMD$a$MSG$" + bytes(50)) * 200
    assert len(decoder.get_buffer()) == FIRST_READ
    with pytest.raises(ValueError, match=str(FIRST_READ + 1)):
        decoder.buffer_updated(FIRST_READ + 1)
    assert receive(decoder, stream[:FIRST_READ]) == FIRST_READ // 77
    assert len(decoder.get_buffer()) == FIRST_READ, "the caller ends that, not the first frame"
    decoder.short_reads = False
    assert len(decoder.get_buffer()) == 4 * FIRST_READ
    assert receive(decoder, stream[FIRST_READ:]) == 200 - FIRST_READ // 77
    assert not core.Decoder(scratch=scratch).short_reads
    small = core.Decoder(scratch=core.Scratch(SIZE), max_first_frame=100)
    assert len(small.get_buffer()) == SIZE


def test_a_decoder_without_a_scratch_has_one_of_64_kib(core: Core) -> None:
    one, two = core.Decoder(), core.Decoder()
    assert len(one.get_buffer()) == 65536
    assert one.get_buffer() is not two.get_buffer()


def test_decoders_that_take_turns_do_not_mix_their_streams(core: Core) -> None:
    scratch = core.Scratch(64)
    decoders = [core.Decoder(scratch=scratch) for _ in range(5)]
    streams = [core.build_command(f"c{i}", bytes([65 + i]) * 300) for i in range(5)]
    frames = [0] * 5
    for at in range(0, len(streams[0]), 50):
        for i, decoder in enumerate(decoders):
            frames[i] += receive(decoder, streams[i][at : at + 50])
    assert frames == [1] * 5


def test_a_large_message_is_received_into_its_own_block(core: Core) -> None:
    scratch = core.Scratch(SIZE)
    decoder = core.Decoder(scratch=scratch)
    shared = decoder.get_buffer()
    body = b"$CMD$big$MSG$" + bytes(range(256)) * 40
    stream = frame(body)
    shared[:] = stream[:SIZE]
    assert decoder.buffer_updated(SIZE) == []
    have = SIZE - 16
    sizes = []
    while True:
        view = decoder.get_buffer()
        if view is shared:
            break
        sizes.append(len(view))
        view[:] = body[have : have + len(view)]
        have += len(view)
        del view
        frames = decoder.buffer_updated(sizes[-1])
        if frames:
            break
    # As much again as has come, each time; never more than the frame needs.
    assert sizes == [1008, 2016, 4032, len(body) - 8064]
    assert frames == [("big", bytes(range(256)) * 40)]
    assert decoder.get_buffer() is shared


def test_the_end_of_a_large_message_comes_through_the_scratch(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    shared = decoder.get_buffer()
    stream = frame(bytes(2 * SIZE)) + frame(b"$CMD$next")
    decoder.feed(stream[: SIZE + HALF + 17])  # 511 bytes are missing
    assert decoder.get_buffer() is shared
    rest = stream[SIZE + HALF + 17 :]
    shared[: len(rest)] = rest
    assert decoder.buffer_updated(len(rest)) == [(None, bytes(2 * SIZE)), ("next", None)]


def test_a_frame_of_which_little_came_gets_no_block(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    shared = decoder.get_buffer()
    decoder.feed(frame(bytes(100_000))[: 16 + HALF - 1])
    assert decoder.get_buffer() is shared
    decoder.feed(b"\0")
    assert decoder.get_buffer() is not shared


@pytest.mark.parametrize("count", [-1, SIZE + 1, 10**30, -(10**30)])
def test_a_count_that_cannot_be_is_refused_and_changes_nothing(core: Core, count: int) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    view = decoder.get_buffer()
    view[:23] = frame(b"$CMD$ab")
    with pytest.raises(ValueError, match=f"{count} bytes cannot have come into a buffer of 1024"):
        decoder.buffer_updated(count)
    assert decoder.buffer_updated(23) == [("ab", None)]


def test_a_count_without_a_buffer_is_refused(core: Core) -> None:
    decoder = core.Decoder()
    text = r"buffer_updated\(\) needs a get_buffer\(\) before it"
    with pytest.raises(ValueError, match=text):
        decoder.buffer_updated(0)
    decoder.get_buffer()
    assert decoder.buffer_updated(0) == []
    with pytest.raises(ValueError, match=text):
        decoder.buffer_updated(0)
    decoder.get_buffer()
    decoder.feed(b"")
    with pytest.raises(ValueError, match=text):
        decoder.buffer_updated(0)
    with pytest.raises(TypeError):
        decoder.buffer_updated("1")  # type: ignore[arg-type]


def test_a_block_takes_no_more_than_its_own_view(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    decoder.feed(frame(bytes(100_000))[: 16 + HALF])
    assert len(decoder.get_buffer()) == HALF
    with pytest.raises(ValueError, match="513 bytes cannot have come into a buffer of 512 bytes"):
        decoder.buffer_updated(HALF + 1)


def test_feeding_in_between_invalidates_the_buffer_but_not_the_view(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    stream = frame(bytes(4 * SIZE))
    decoder.feed(stream[: 16 + SIZE])
    view = decoder.get_buffer()
    assert decoder.feed(stream[16 + SIZE :]) == [(None, bytes(4 * SIZE))]
    view[:] = b"\xff" * len(view)
    with pytest.raises(ValueError, match="needs a get_buffer"):
        decoder.buffer_updated(1)
    assert decoder.feed(frame(b"$CMD$a")) == [("a", None)]


def test_views_that_are_kept_do_no_harm(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    body = bytes(range(256)) * 256
    data = frame(body)
    views = []
    frames = []
    while data:
        view = decoder.get_buffer()
        n = min(len(view), len(data))
        view[:n] = data[:n]
        views.append(view)
        frames += decoder.buffer_updated(n)
        data = data[n:]
    assert frames == [(None, body)]
    del decoder
    for view in views:
        view[:] = b"\xee" * len(view)
    assert frames == [(None, body)]


def test_what_is_written_into_a_stale_view_does_not_reach_the_message(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    body = bytes(range(256)) * 64
    decoder.feed(frame(body)[: 16 + SIZE])
    stale = decoder.get_buffer()
    decoder.feed(body[SIZE : 4 * SIZE])  # needs a larger block than the view's
    stale[:] = b"\xee" * len(stale)
    assert decoder.feed(body[4 * SIZE :]) == [(None, body)]


def test_a_released_view_is_replaced(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    for _ in range(3):
        with decoder.get_buffer() as view:
            view[:22] = frame(b"$CMD$a")
        assert decoder.buffer_updated(22) == [("a", None)]


@pytest.mark.parametrize("size", [0, -1])
def test_a_scratch_without_room_is_refused(core: Core, size: int) -> None:
    with pytest.raises(ValueError, match=f"must be at least 1, not {size}"):
        core.Scratch(size)


@pytest.mark.skipif(COMPILED is None, reason="the extension modules are not built here")
def test_an_idle_compiled_decoder_is_tiny() -> None:
    assert COMPILED is not None
    assert sys.getsizeof(COMPILED.Decoder()) < 200
    assert sys.getsizeof(COMPILED.Outbox([], None, lambda: None)) <= 208


@pytest.mark.skipif(COMPILED is None, reason="the extension modules are not built here")
def test_both_hand_out_buffers_of_the_same_sizes() -> None:
    assert COMPILED is not None
    stream = frame(b"$CMD$big$MSG$" + bytes(70_000)) + frame(bytes(3000)) * 3
    sizes: list[list[int]] = []
    for core in (COMPILED, PYTHON):
        decoder = core.Decoder(scratch=core.Scratch(SIZE))
        data = stream
        seen = []
        while data:
            view = decoder.get_buffer()
            seen.append(len(view))
            n = min(len(view), len(data), 700)
            view[:n] = data[:n]
            decoder.buffer_updated(n)
            data = data[n:]
        sizes.append(seen)
    assert sizes[0] == sizes[1]


def test_one_byte_at_a_time_copies_each_byte_a_bounded_number_of_times(
    core: Core, traced: Callable[[], tuple[int, int]]
) -> None:
    decoder = core.Decoder()
    body = bytes(range(256)) * 80
    stream = frame(body)
    before, _ = traced()
    frames = []
    for i in range(len(stream)):
        frames += decoder.feed(stream[i : i + 1])
    assert frames == [(None, body)]
    _, peak = traced()
    assert peak - before < 4 * len(body) + 8000


def test_a_buffer_is_no_longer_to_be_filled_once_its_frame_is_discarded(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    decoder.feed(frame(bytes(100_000))[: 16 + 4 * SIZE])
    size = len(decoder.get_buffer())
    decoder.discard()
    with pytest.raises(ValueError, match="needs a get_buffer"):
        decoder.buffer_updated(size)
    body = bytes(range(100))
    decoder.feed(frame(body)[:50])
    assert decoder.feed(frame(body)[50:]) == [(None, body)]
