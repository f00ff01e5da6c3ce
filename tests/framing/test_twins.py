"""The compiled and the Python core do the same with the same bytes, whatever these are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.wire import frame

from framing.cores import COMPILED, CORES, PYTHON, Core, cut, fed, received

both = pytest.mark.skipif(COMPILED is None, reason="the extension modules are not built here")

header_lens = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 20])
limits = st.sampled_from([1, 20, 200, 16 << 20, 10**18, 2**63 - 1, 10**30])
# Bytes that mean something to the format, and a few that never do.
wire_bytes = st.sampled_from(list(b"0123456789   $$$CMDSG\xc3\xa4\xff\0_-+\tx"))
pieces = st.sampled_from(
    [
        b"$CMD$",
        b"$MSG$",
        b"$",
        b"$$",
        b"$MSG",
        b"MSG$",
        b"CMD$",
        b"a",
        b"move",
        b"\xc3\xa4",
        b"\xff",
    ]
)
payloads = st.one_of(
    st.lists(pieces, max_size=6).map(b"".join),
    st.lists(pieces, max_size=4).map(lambda parts: b"$CMD$" + b"".join(parts)),
    st.builds(lambda command, body: b"$CMD$" + command + b"$MSG$" + body, pieces, st.binary()),
    st.binary(max_size=40),
    st.integers(0, 3000).map(lambda n: b"$CMD$long$MSG$" + b"y" * n),
)
texts = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="$MSGCD a", max_size=8),
    st.sampled_from(["move", "größe", "$x$", "a$MSG", "\ud800", "x" * 63, "x" * 64, "x" * 65]),
)
messages = st.one_of(st.none(), st.binary(max_size=30), st.integers(0, 70_000).map(bytes))


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, bytes]:
    """Draw a header length and a stream: frames, some of them spoilt, or no frames at all."""
    header_len = draw(header_lens)
    if draw(st.integers(0, 9)) == 0:
        return header_len, bytes(draw(st.lists(wire_bytes, max_size=120)))
    parts = draw(st.lists(payloads, max_size=6))
    stream = bytearray()
    for part in parts:
        if len(str(len(part))) <= header_len:
            stream += frame(part, header_len)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(stream)))
        kind = draw(st.integers(0, 2))
        stream[at : at + (kind > 0)] = [draw(wire_bytes)] if kind < 2 else []
    return header_len, bytes(stream)


cuts = st.lists(st.integers(0, 10_000), max_size=12)
ways = st.sampled_from([fed, received])


def result(call: Callable[..., Any], *args: Any) -> object:
    """Return what a call returned or, type and text, what it raised."""
    try:
        return call(*args)
    except Exception as error:
        return type(error), str(error)


def transcript(
    core: Core,
    header_len: int,
    limits: tuple[int, int | None],
    size: int,
    steps: list[tuple[str, bytes]],
) -> list[object]:
    """Do the steps and write down all that can be seen after each."""
    decoder = core.Decoder(header_len, limits[0], core.Scratch(size), limits[1])
    seen: list[object] = []
    for kind, data in steps:
        if kind == "feed":
            seen.append(result(decoder.feed, data))
        else:
            view = decoder.get_buffer()
            n = min(len(view), len(data))
            view[:n] = data[:n]
            seen.append((len(view), result(decoder.buffer_updated, n + (kind == "lie") * 10**6)))
            del view
        error = decoder.error
        seen.append((decoder.position, decoder.pending, decoder.held))
        seen.append(error and (error.reason, error.position))
        seen.append(result(decoder.eof))
    return seen


@both
@given(streams(), limits, cuts, ways, st.sampled_from([1, 2, 64, 65536]))
@settings(max_examples=400, deadline=None)
def test_both_make_the_same_of_a_stream(
    stream: tuple[int, bytes], limit: int, places: list[int], way: Any, size: int
) -> None:
    assert COMPILED is not None
    header_len, data = stream
    chunks = cut(data, places)
    outcomes = [way(core.Decoder(header_len, limit, core.Scratch(size)), chunks) for core in CORES]
    assert outcomes[0] == outcomes[1]


@both
@given(
    streams(),
    st.tuples(limits, st.none() | limits),
    st.sampled_from([1, 3, 50, 64, 65536]),
    st.lists(
        st.tuples(st.sampled_from(["feed", "receive", "lie"]), st.integers(0, 300)), max_size=15
    ),
)
@example((7, b"5      $CMD$"), (20, None), 1, [("feed", 8), ("receive", 0)])
@settings(max_examples=400, deadline=None)
def test_both_look_the_same_after_every_step(
    stream: tuple[int, bytes],
    limit: tuple[int, int | None],
    size: int,
    plan: list[tuple[str, int]],
) -> None:
    assert COMPILED is not None
    header_len, data = stream
    steps = []
    for kind, n in plan:
        steps.append((kind, data[:n]))
        data = data[n:]
    steps.append(("feed", data))
    compiled = transcript(COMPILED, header_len, limit, size, steps)
    assert compiled == transcript(PYTHON, header_len, limit, size, steps)


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
@given(streams(), st.sampled_from([200, 16 << 20]), cuts, ways)
@settings(max_examples=200, deadline=None)
def test_no_split_changes_frames_error_or_position(
    core: Core, stream: tuple[int, bytes], limit: int, places: list[int], way: Any
) -> None:
    header_len, data = stream
    whole = fed(core.Decoder(header_len, limit), [data])
    split = way(core.Decoder(header_len, limit, core.Scratch(64)), cut(data, places))
    assert split == whole


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
@given(streams())
@settings(max_examples=100, deadline=None)
def test_one_byte_at_a_time_gives_what_the_whole_gives(
    core: Core, stream: tuple[int, bytes]
) -> None:
    header_len, data = stream
    whole = fed(core.Decoder(header_len), [data])
    assert fed(core.Decoder(header_len), [data[i : i + 1] for i in range(len(data))]) == whole


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
@given(st.lists(st.tuples(texts, messages), max_size=8), header_lens, cuts)
@settings(max_examples=150, deadline=None)
def test_what_can_be_built_is_read_back(
    core: Core, frames: list[tuple[str, bytes | None]], header_len: int, places: list[int]
) -> None:
    sent = []
    stream = b""
    outbox = core.Outbox([], None, lambda: None, header_len)
    for command, message in frames:
        built = result(core.build_command, command, message, header_len)
        queued = result(outbox.send, command, message)
        if isinstance(built, bytes):
            stream += built
            sent.append((command, message))
            assert queued is True
        else:
            assert queued == built
    assert b"".join(outbox.take()) == stream
    got = fed(core.Decoder(header_len), cut(stream, places))
    assert (got.frames, got.error, got.pending) == (sent, None, 0)


@both
@given(
    st.one_of(texts, st.none(), st.binary(max_size=3)),
    st.one_of(messages, st.text(max_size=3), st.binary(max_size=3).map(bytearray)),
    st.one_of(header_lens, st.integers(), st.none()),
)
@settings(max_examples=300, deadline=None)
def test_both_build_the_same_or_refuse_alike(command: Any, message: Any, header_len: Any) -> None:
    assert COMPILED is not None
    for name in ("check_command", "build_command", "build_raw"):
        args = {
            "check_command": (command,),
            "build_command": (command, message, header_len),
            "build_raw": (message, header_len),
        }[name]
        assert result(getattr(COMPILED, name), *args) == result(getattr(PYTHON, name), *args)


@both
@given(
    st.one_of(st.integers(), st.integers(0, 10**21), st.none()),
    st.one_of(header_lens, st.integers(), st.none()),
)
@settings(max_examples=300, deadline=None)
def test_both_build_the_same_header_or_refuse_alike(length: Any, header_len: Any) -> None:
    assert COMPILED is not None
    compiled = result(COMPILED.build_header, length, header_len)
    assert compiled == result(PYTHON.build_header, length, header_len)


@both
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), texts, messages),
            st.tuples(st.just("write"), st.one_of(st.binary(max_size=20), messages)),
            st.tuples(st.sampled_from(["take", "close", "fan_out", "fan_out_joined"])),
        ),
        max_size=20,
    ),
    header_lens,
)
@settings(max_examples=200, deadline=None)
def test_both_outboxes_hold_the_same_after_every_step(
    steps: list[tuple[Any, ...]], header_len: int
) -> None:
    seen: list[list[object]] = []
    for core in CORES:
        queue: list[int] = []
        calls: list[None] = []
        schedule = partial(calls.append, None)
        boxes = [core.Outbox(queue, i, schedule, header_len) for i in (0, 1)]
        log: list[object] = []
        for step in steps:
            name, args = step[0], step[1:]
            if name == "fan_out":
                log.append(core.fan_out(boxes, b"everyone"))
            elif name == "fan_out_joined":
                log.append(core.fan_out_joined(boxes, b"everyone three times", 3))
            elif name == "take":
                log.append(b"".join(boxes[0].take()))
            else:
                log.append(result(getattr(boxes[0], name), *args))
            if name == "take":
                boxes[1].take()
                queue.clear()
            counts = [(box.size, box.frames, box.closed) for box in boxes]
            log.append((counts, queue[:], len(calls)))
        log += [b"".join(box.take()) for box in boxes]
        seen.append(log)
    assert seen[0] == seen[1]


@both
def test_both_have_the_same_surface() -> None:
    assert COMPILED is not None
    for name in ("Decoder", "Outbox", "Scratch"):
        ours = {n for n in dir(getattr(COMPILED, name)) if not n.startswith("_")}
        theirs = {n for n in dir(getattr(PYTHON, name)) if not n.startswith("_")}
        assert ours == theirs


@both
def test_both_take_arguments_by_the_same_names() -> None:
    assert COMPILED is not None
    for path in (
        "build_command",
        "build_header",
        "build_raw",
        "Decoder.feed",
        "Decoder.get_buffer",
        "Decoder.buffer_updated",
        "Decoder.eof",
        "Outbox.send",
        "Outbox.write",
        "Outbox.take",
        "Outbox.take_until",
        "Outbox.close",
    ):
        names = []
        for core in CORES:
            found: Any = core
            for part in path.split("."):
                found = getattr(found, part)
            parameters = inspect.signature(found).parameters.values()
            names.append([(p.name, p.kind) for p in parameters if p.name != "self"])
        assert names[0] == names[1], path
