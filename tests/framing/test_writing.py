"""What a flusher writes to the socket itself, and what it leaves to the transport."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from framing.cores import Core
from hisock._framing_common import LONGEST_DIRECT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sockets there are no descriptors")


class Transport:
    """Keeps what it is given until it is emptied."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.aborted = False
        self.fails: type[Exception] | None = None

    def write(self, chunk: bytes) -> None:
        if self.fails is not None:
            raise self.fails
        self.kept.append(chunk)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True
        self.kept.clear()

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.kept))


class Pipe:
    """A flusher with a real socket that does not block, and a transport that looks on."""

    def __init__(self, core: Core) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.settimeout(10)
        self.transport = Transport()
        self.flusher: Any = type("Writer", (core.Flusher,), {})(
            core.Outbox([], object(), lambda: None)
        )
        self.flusher._transport = self.transport
        self.flusher.descriptor = self.near.fileno()

    def fill(self) -> int:
        """Write until the socket takes no more; how many bytes it took."""
        taken = 0
        while not self.transport.kept:
            self.flusher.write(b"f" * 50_000)
            taken += 50_000
        return taken - self.transport.get_write_buffer_size()

    def write_often(self, chunk: bytes) -> None:
        """Write more than the socket takes."""
        for _ in range(1000):
            self.flusher.write(chunk)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self.far.recv(size - len(data))):
            data += part
        return data


@pytest.fixture
def pipe(core: Core) -> Iterator[Pipe]:
    pipe = Pipe(core)
    yield pipe
    pipe.near.close()
    pipe.far.close()


def test_a_chunk_goes_to_the_socket_at_once(pipe: Pipe) -> None:
    pipe.flusher.write(b"one")
    pipe.flusher.write(b"two")
    assert pipe.read(6) == b"onetwo"
    assert (pipe.transport.kept, pipe.flusher.behind) == ([], False)


def test_what_waits_in_the_outbox_does_too(pipe: Pipe) -> None:
    pipe.flusher.outbox.write(b"frame")
    pipe.flusher.flush()
    assert pipe.read(5) == b"frame"
    assert pipe.transport.kept == []


def test_what_the_socket_does_not_take_is_the_transports(pipe: Pipe) -> None:
    taken = pipe.fill()
    rest = pipe.transport.kept[0]
    assert pipe.flusher.behind
    # While the transport holds something, everything is behind it, even if the socket has room.
    assert pipe.read(taken) == b"f" * taken
    pipe.flusher.write(b"later")
    assert pipe.transport.kept == [rest, b"later"]
    pipe.transport.kept.clear()
    pipe.flusher.write(b"at once")
    assert pipe.read(7) == b"at once"
    assert (pipe.transport.kept, pipe.flusher.behind) == ([], False)


def test_a_long_chunk_is_left_to_the_transport(pipe: Pipe) -> None:
    long = b"l" * (LONGEST_DIRECT + 1)
    pipe.flusher.write(long)
    assert pipe.transport.kept == [long]
    assert pipe.transport.kept[0] is long, "without a copy"
    pipe.flusher.write(b"behind")
    assert pipe.transport.kept == [long, b"behind"]


def test_a_socket_that_fails_is_the_transports_to_report(pipe: Pipe) -> None:
    pipe.far.close()
    pipe.flusher.write(b"to nobody")
    assert pipe.transport.kept == [b"to nobody"]
    assert pipe.flusher.behind


def test_without_a_descriptor_all_is_the_transports(pipe: Pipe) -> None:
    pipe.flusher.descriptor = -1
    pipe.flusher.write(b"one")
    assert pipe.transport.kept == [b"one"]


def test_nothing_follows_what_an_aborted_transport_has_dropped(pipe: Pipe) -> None:
    taken = pipe.fill()
    pipe.transport.abort()
    assert pipe.read(taken) == b"f" * taken
    pipe.flusher.write(b"later")
    pipe.near.close()
    assert pipe.far.recv(10) == b""


@pytest.mark.parametrize("half", [False, True])
def test_nothing_follows_what_could_not_be_written(pipe: Pipe, half: bool) -> None:
    pipe.transport.fails = MemoryError
    chunk = b"c" * (LONGEST_DIRECT if half else LONGEST_DIRECT + 1)
    with pytest.raises(MemoryError):
        pipe.write_often(chunk)
    assert pipe.transport.aborted


@pytest.mark.parametrize("closed", [False, True])
def test_the_socket_of_a_loop_that_has_been_closed_is_left_alone(pipe: Pipe, closed: bool) -> None:
    pipe.flusher.loop_closed = lambda: closed
    pipe.flusher.write(b"one")
    assert pipe.transport.kept == ([b"one"] if closed else [])
    assert (pipe.flusher.descriptor < 0) is closed
