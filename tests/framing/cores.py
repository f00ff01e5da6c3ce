"""The two implementations, side by side, and what the tests ask of both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

from hisock.framing import (
    Broadcaster,
    Decoder,
    Flusher,
    FlushQueue,
    Frame,
    FramingError,
    Gathered,
    Outbox,
    Reader,
    Recipient,
    Scratch,
)

HEADER_LEN = 16


@dataclass(frozen=True)
class Core:
    """One implementation; typed as the Python one, whose surface both have."""

    name: str
    Decoder: type[Decoder]
    FlushQueue: type[FlushQueue]
    Flusher: type[Flusher]
    Gathered: type[Gathered]
    Outbox: type[Outbox]
    Broadcaster: type[Broadcaster]
    Reader: type[Reader]
    Recipient: type[Recipient]
    Scratch: type[Scratch]
    build_command: Callable[..., bytes]
    build_header: Callable[..., bytes]
    build_raw: Callable[..., bytes]
    check_command: Callable[..., None]
    encoder: Callable[..., Callable[[Any], bytes | None]]
    fan_out: Callable[..., int]
    fan_out_joined: Callable[..., int]
    send_client: Callable[..., None]
    send_group: Callable[..., int]
    send_room: Callable[..., int]


def load(name: str, reading: str, writing: str, turning: str, publishing: str, typed: str) -> Core:
    """Import one implementation."""
    messages = import_module(typed)
    turn = import_module(turning)
    read = import_module(reading)
    write = import_module(writing)
    publish = import_module(publishing)
    return Core(
        name,
        read.Decoder,
        turn.FlushQueue,
        turn.Flusher,
        write.Gathered,
        write.Outbox,
        publish.Broadcaster,
        turn.Reader,
        write.Recipient,
        read.Scratch,
        read.build_command,
        read.build_header,
        read.build_raw,
        read.check_command,
        messages.encoder,
        write.fan_out,
        write.fan_out_joined,
        write.send_client,
        publish.send_group,
        publish.send_room,
    )


_MODULES = ("_framing", "_outbox", "_turn", "_publishing", "_messages")


def load_all() -> list[Core]:
    """Import both; the compiled one may be missing only where Python was asked for."""
    cores = [load("python", *(f"hisock.{name}_py" for name in _MODULES))]
    compiled = [name.replace("publishing", "outbox") for name in _MODULES]
    try:
        cores.insert(0, load("compiled", *(f"hisock.{name}" for name in compiled)))
    except ImportError:
        if os.environ.get("HISOCK_PURE_PYTHON", "") in ("", "0"):
            raise
    return cores


CORES = load_all()
PYTHON = CORES[-1]
COMPILED = CORES[0] if len(CORES) == 2 else None


@dataclass
class Outcome:
    """What a stream came to."""

    frames: list[Frame]
    error: tuple[str, int] | None
    position: int
    pending: int
    end: tuple[str, int] | None  # what eof() raised


Take = Callable[[Decoder, bytes], Iterator[list[Frame]]]


def outcome(decoder: Decoder, take: Take, chunks: Iterable[bytes]) -> Outcome:
    """Give a decoder the chunks until it refuses."""
    frames: list[Frame] = []
    try:
        for chunk in chunks:
            for batch in take(decoder, chunk):
                frames += batch
    except FramingError:
        pass
    error = decoder.error
    end = None
    try:
        decoder.eof()
    except FramingError as raised:
        end = (raised.reason, raised.position)
    return Outcome(
        frames,
        None if error is None else (error.reason, error.position),
        decoder.position,
        decoder.pending,
        end,
    )


def feeding(decoder: Decoder, chunk: bytes) -> Iterator[list[Frame]]:
    """Hand in a chunk through feed()."""
    yield decoder.feed(chunk)


def receiving(decoder: Decoder, chunk: bytes) -> Iterator[list[Frame]]:
    """Hand in a chunk through get_buffer() and buffer_updated(), as often as it takes."""
    rest = memoryview(chunk)
    while rest:
        view = decoder.get_buffer()
        n = min(len(view), len(rest))
        view[:n] = rest[:n]
        del view
        yield decoder.buffer_updated(n)
        rest = rest[n:]


def receive(decoder: Decoder, data: bytes) -> int:
    """Receive all of ``data``; returns how many frames came."""
    return sum(len(batch) for batch in receiving(decoder, data))


def fed(decoder: Decoder, chunks: Iterable[bytes]) -> Outcome:
    """Give a decoder the chunks through feed()."""
    return outcome(decoder, feeding, chunks)


def received(decoder: Decoder, chunks: Iterable[bytes]) -> Outcome:
    """Give a decoder the chunks through get_buffer() and buffer_updated()."""
    return outcome(decoder, receiving, chunks)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a stream at these places (any integers; they are wrapped into it)."""
    marks = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[a:b] for a, b in pairwise(marks)]


class Calls:
    """Counts how often schedule() was called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def make_outbox(core: Core, header_len: int = 16) -> Outbox:
    return core.Outbox([], None, lambda: None, header_len)
