"""Long messages of commands: the compiled core receives them where they stay."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.wire import frame

from framing.cores import COMPILED, PYTHON, Core, receive
from hisock._framing_common import MOST_SPARE
from hisock.framing import Frame, FramingError

EDGE = 4096  # bytes of a payload in which the compiled core looks for the end of a command
SIZE = 8192  # of the scratch in these tests
BODY = bytes(range(256)) * 256

compiled = pytest.mark.skipif(COMPILED is None, reason="the extension modules are not built here")
near_the_edge = st.integers(EDGE - 16, EDGE + 16)
commands = st.one_of(
    st.just(b"move"),
    st.just(b"$x$"),  # not allowed
    st.just(b"\xff"),  # neither
    st.just(b"a$MSG"),
    near_the_edge.map(lambda n: b"c" * n),
)
payloads = st.one_of(
    st.builds(
        lambda command, size: b"$CMD$" + command + b"$MSG$" + BODY[:size],
        commands,
        st.one_of(near_the_edge, st.integers(0, 50_000)),
    ),
    st.builds(lambda size: b"$CMD$" + b"x" * size, near_the_edge),
    st.builds(lambda size: BODY[1 : 1 + size], st.integers(0, 30_000)),
)
steps = st.lists(
    st.tuples(st.booleans(), st.one_of(near_the_edge, st.integers(1, 60_000))),
    min_size=1,
    max_size=12,
)


def transcript(core: Core, stream: bytes, reads: list[tuple[bool, int]]) -> list[object]:
    """What can be seen of a decoder while it reads, by turns fed and received into."""
    decoder = core.Decoder(scratch=core.Scratch(SIZE), max_frame_size=100_000)
    seen: list[object] = []
    turn = 0
    while stream:
        feeding, n = reads[turn % len(reads)]
        turn += 1
        try:
            if feeding:
                frames = decoder.feed(stream[:n])
            else:
                view = decoder.get_buffer()
                seen.append(len(view))
                n = min(n, len(view), len(stream))
                view[:n] = stream[:n]
                del view
                frames = decoder.buffer_updated(n)
        except FramingError as error:
            return [*seen, str(error), error.position, decoder.held]
        seen.append((frames, decoder.pending, decoder.held, decoder.position))
        stream = stream[n:]
    return seen


@compiled
@settings(max_examples=150, deadline=None)
@example([b"$CMD$move$MSG$" + BODY] * 3, [(False, 60_000)])
@example([b"$CMD$move$MSG$" + BODY[:20_000], BODY[:20_000]] * 2, [(False, 60_000)])
@example([b"$CMD$" + b"c" * (EDGE - 10) + b"$MSG$" + BODY[:9000]], [(True, EDGE + 16)])
@given(st.lists(payloads, min_size=1, max_size=4), steps)
def test_both_look_the_same_after_every_step(
    parts: list[bytes], reads: list[tuple[bool, int]]
) -> None:
    assert COMPILED is not None
    stream = b"".join(frame(part) for part in parts)
    assert transcript(COMPILED, stream, reads) == transcript(PYTHON, stream, reads)


def test_views_that_are_kept_for_longer_than_their_read_do_no_harm(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    stream = frame(b"$CMD$move$MSG$" + BODY) * 2
    views: list[memoryview] = []
    frames: list[Frame] = []
    while stream:
        view = decoder.get_buffer()
        n = min(len(view), len(stream))
        view[:n] = stream[:n]
        complete = decoder.buffer_updated(n)
        if not complete:  # the last one is for its reader to let go of
            views.append(view)
        frames += complete
        stream = stream[n:]
    for view in views:
        view[:] = b"\xee" * len(view)
    assert len(views) > 3
    assert frames == [("move", BODY)] * 2


def test_what_a_view_held_when_its_decoder_went_can_be_read(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    decoder.feed(frame(b"$CMD$move$MSG$" + BODY)[: 2 * SIZE])
    view = decoder.get_buffer()
    view[:] = BODY[: len(view)]
    decoder.discard()
    del decoder
    assert view == BODY[: len(view)]


def test_feeding_the_end_leaves_the_message_to_its_receiver(core: Core) -> None:
    decoder = core.Decoder(scratch=core.Scratch(SIZE))
    stream = frame(b"$CMD$move$MSG$" + BODY)
    decoder.feed(stream[: 2 * SIZE])
    stale = decoder.get_buffer()
    frames = decoder.feed(stream[2 * SIZE :])
    stale[:] = b"\xee" * len(stale)
    assert frames == [("move", BODY)]


@compiled
def test_a_long_message_is_allocated_once(traced: Callable[[], tuple[int, int]]) -> None:
    assert COMPILED is not None
    decoder = COMPILED.Decoder()
    receive(decoder, frame(b"$CMD$a$MSG$b"))
    stream = frame(b"$CMD$big$MSG$" + bytes(2 * MOST_SPARE))
    before, _ = traced()
    receive(decoder, stream)
    after, peak = traced()
    assert peak - before < 1.1 * 2 * MOST_SPARE
    assert after - before < 100_000  # and whoever got it has dropped it


OUT_OF_MEMORY = """
import resource
from hisock._building import build_command
from hisock._framing import Decoder

stream = build_command("move", bytes(200 << 20))[: 150 << 20]
resource.setrlimit(resource.RLIMIT_AS, (300 << 20, resource.RLIM_INFINITY))
decoder = Decoder(max_frame_size=1 << 30)
try:
    decoder.feed(stream)
except MemoryError:
    print("short of memory,", decoder.held)
for _ in range(100):
    try:
        decoder.feed(b"1234567")
    except Exception as exc:
        print(type(exc).__name__)
        break
"""


@compiled
@pytest.mark.skipif(
    sys.platform != "linux" or "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="needs a bound on memory",
)
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="the allocator of a free-threaded Python reserves a gigabyte at once",
)
def test_a_message_that_there_is_no_memory_for_leaves_nothing_behind() -> None:
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, timeout=60
    )
    assert (run.stdout.splitlines(), run.returncode) == (
        ["short of memory, 0", "FramingError"],
        0,
    ), run.stderr
