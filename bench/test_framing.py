"""Building and parsing one frame, compared with the same work done by msgpack and websockets.

Run it with::

    python -m pytest bench/test_framing.py --benchmark-columns=median,iqr,min,rounds

Each group of the table is one kind of work; the number in brackets is the ratio to the fastest.
A batch is 1,000 frames, so its microseconds are the nanoseconds of one frame. What is compared:

- hisock, compiled and Python: a frame ``$CMD$move$MSG$`` + message, to and from
  ``("move", message)``. A batch is built in an ``Outbox``, as servers and clients do; from 32 KiB
  on that keeps a message by reference, so that a batch of 64 KiB messages shows no copying.
- msgpack: the array ``["move", message]``, with ``Unpacker`` (streaming, to tuples), ``packb`` for
  one, and a ``Packer`` that collects for a batch.
- websockets: an unmasked binary frame of the same payload, with ``Frame.parse`` on its
  ``StreamReader`` and ``Frame.serialize``. It does less: it does not take the command and the
  message apart, nor check either.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgpack
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

COMMAND = "move"
SIZES = {"16 B": 16, "64 B": 64, "1 KiB": 1024, "64 KiB": 65536}
COUNTS = {"single": 1, "batch of 1000": 1000}
PARSERS: dict[str, Callable[[bytes, int], Callable[[], object]]] = {}
BUILDERS: dict[str, Callable[[bytes, int], Callable[[], object]]] = {}


def hisock_parse(module: Any) -> Callable[[bytes, int], Callable[[], object]]:
    """Parse with one of the two implementations."""

    def prepare(message: bytes, count: int) -> Callable[[], object]:
        stream = module.build_command(COMMAND, message) * count
        decoder = module.Decoder()
        assert decoder.feed(stream) == [(COMMAND, message)] * count
        return lambda: decoder.feed(stream)

    return prepare


def hisock_build(reading: Any, writing: Any) -> Callable[[bytes, int], Callable[[], object]]:
    """Build with one of the two implementations."""

    def prepare(message: bytes, count: int) -> Callable[[], object]:
        build = reading.build_command
        if count == 1:
            return lambda: build(COMMAND, message)
        outbox = writing.Outbox([], None, int)

        def batch() -> object:
            send = outbox.send
            for _ in range(count):
                send(COMMAND, message)
            return outbox.take()

        return batch

    return prepare


def msgpack_parse(message: bytes, count: int) -> Callable[[], object]:
    """Parse with a streaming Unpacker."""
    stream = msgpack.packb((COMMAND, message)) * count
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=1 << 30)

    def parse() -> object:
        unpacker.feed(stream)
        return list(unpacker)

    assert parse() == [(COMMAND, message)] * count
    return parse


def msgpack_build(message: bytes, count: int) -> Callable[[], object]:
    """Build with packb, or a Packer that collects."""
    if count == 1:
        return lambda: msgpack.packb((COMMAND, message))
    packer = msgpack.Packer(autoreset=False)

    def batch() -> object:
        pack = packer.pack
        for _ in range(count):
            pack((COMMAND, message))
        packed = packer.bytes()
        packer.reset()
        return packed

    return batch


def websockets_parse(message: bytes, count: int) -> Callable[[], object]:
    """Parse with Frame.parse, driven as websockets' protocol does."""
    payload = b"$CMD$" + COMMAND.encode() + b"$MSG$" + message
    stream = Frame(Opcode.BINARY, payload).serialize(mask=False) * count

    def parse() -> object:
        reader = StreamReader()
        reader.feed_data(stream)
        frames = []
        for _ in range(count):
            try:
                next(Frame.parse(reader.read_exact, mask=False))
            except StopIteration as parsed:
                frames.append(parsed.value)
        return frames

    assert parse() == [Frame(Opcode.BINARY, payload)] * count
    return parse


def websockets_build(message: bytes, count: int) -> Callable[[], object]:
    """Build with Frame.serialize; a batch is joined, as it is for writing."""

    def one() -> bytes:
        payload = b"$CMD$" + COMMAND.encode() + b"$MSG$" + message
        return Frame(Opcode.BINARY, payload).serialize(mask=False)

    return one if count == 1 else lambda: b"".join([one() for _ in range(count)])


for _name, _reading, _writing in (
    ("compiled", "hisock._framing", "hisock._outbox"),
    ("python", "hisock._framing_py", "hisock._outbox_py"),
):
    _core = import_module(_reading)
    PARSERS[_name] = hisock_parse(_core)
    BUILDERS[_name] = hisock_build(_core, import_module(_writing))
PARSERS |= {"msgpack": msgpack_parse, "websockets": websockets_parse}
BUILDERS |= {"msgpack": msgpack_build, "websockets": websockets_build}


@pytest.mark.benchmark(
    max_time=0.3, min_time=0.0005, min_rounds=9, warmup=True, warmup_iterations=20
)
@pytest.mark.parametrize("contender", PARSERS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_parse(benchmark: BenchmarkFixture, count: str, size: str, contender: str) -> None:
    benchmark.group = f"parse {size}, {count}"
    benchmark.name = contender
    benchmark(PARSERS[contender](bytes(SIZES[size]), COUNTS[count]))


@pytest.mark.benchmark(
    max_time=0.3, min_time=0.0005, min_rounds=9, warmup=True, warmup_iterations=20
)
@pytest.mark.parametrize("contender", BUILDERS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_build(benchmark: BenchmarkFixture, count: str, size: str, contender: str) -> None:
    benchmark.group = f"build {size}, {count}"
    benchmark.name = contender
    benchmark(BUILDERS[contender](bytes(SIZES[size]), COUNTS[count]))
