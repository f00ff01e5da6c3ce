"""Reading and writing over TLS: when the socket is asked, and what is told in which order."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from hisock._framing_common import LONG_WRITE, MOST_ALONE, MOST_RECORDS, NOTHING_WAITS
from hisock.framing import IMPLEMENTATION

MODULES = ["hisock._turn_py", *(["hisock._turn"] if IMPLEMENTATION == "compiled" else [])]


class Nothing(OSError):
    """Nothing has come, or nothing is taken, at the moment."""


def made(module: str, records: list[Any], size: int = 65536, on_data: Any = None) -> Any:
    """A channel whose socket has these records: bytes, an error, or ``b""`` for the end."""
    base: Any = importlib.import_module(module).Channel

    class Channel(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.trace: list[Any] = []
            self.buffer = bytearray(size)
            self.asked = 0
            self._fill, self._pending, self._offer = self.fill, self.pending, self.offer
            self._waits = lambda: b"\1\0\0\0" if records else NOTHING_WAITS
            self._take, self._took = lambda hint: memoryview(self.buffer), self.took

        def fill(self, most: int, buffer: memoryview) -> int:
            self.asked += 1
            if not records:
                raise Nothing
            record = records[0]
            if isinstance(record, Exception):
                raise record
            count = min(most, len(record))
            buffer[:count] = record[:count]
            if record[count:]:
                records[0] = record[count:]
            elif record:
                del records[0]
            return count

        def pending(self) -> int:
            return len(records[0]) if records and isinstance(records[0], bytes) else 0

        def took(self, count: int) -> None:
            self.trace.append(bytes(self.buffer[:count]))
            if on_data is not None:
                on_data(self)

        def offer(self, data: bytes) -> int:
            if not self.asked:
                raise Nothing
            self.trace.append(("written", data))
            return len(data)

        def ended(self) -> None:
            self.trace.append("ended")
            self._closing = True

        def failed(self, exc: Exception) -> None:
            self.trace.append(exc)

        def enqueue(self, data: bytes) -> None:
            self.queued.append(data)

        def refused(self, data: bytes, exc: OSError) -> None:
            self.trace.append(("refused", data, type(exc)))

    return Channel()


@pytest.fixture(params=MODULES)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return lambda *given, **more: made(request.param, *given, **more)


def test_all_records_that_have_come_are_taken_at_once(make: Callable[..., Any]) -> None:
    channel = make([b"one", b"two"], size=1000)
    channel.read_ready()
    assert (channel.trace, channel.asked) == ([b"onetwo"], 2)


def test_a_peer_that_awaits_each_answer_is_seldom_asked_about(make: Callable[..., Any]) -> None:
    records: list[Any] = []
    channel = make(records)
    asked: list[int] = []
    waits = channel._waits

    def ask() -> bytes:
        asked.append(1)
        found: bytes = waits()
        return found

    channel._waits = ask
    for _ in range(3 * MOST_ALONE):
        records.append(b"one")
        channel.read_ready()
    assert len(asked) == MOST_ALONE + 2
    for _ in range(4 * MOST_ALONE):
        records += [b"one", b"two"]
        channel.read_ready()
    assert not records, "many that come together are taken together again"
    assert channel.trace[-1] == b"onetwo"


def test_a_flood_of_records_leaves_others_their_turn(make: Callable[..., Any]) -> None:
    channel = make([b"x"] * 1000)
    channel.read_ready()
    assert channel.trace == [b"x" * (1 + MOST_RECORDS)]
    channel = make([bytes(8192), *[bytes(16384)] * 100], size=16384)
    channel.read_ready()
    assert [len(each) for each in channel.trace] == [16384, 8192], "the rest of a record at most"


def test_part_of_a_record_behind_another_waits_for_the_rest(make: Callable[..., Any]) -> None:
    channel = make([b"one", Nothing()])
    channel.read_ready()
    assert channel.trace[0] == b"one"
    assert isinstance(channel.trace[1], Nothing)


@pytest.mark.parametrize("error", [ConnectionResetError(), OSError(5, "bad")])
def test_an_error_is_told_behind_what_came_before_it(
    make: Callable[..., Any], error: Exception
) -> None:
    channel = make([b"one", error])
    channel.read_ready()
    assert channel.trace == [b"one", error]


def test_so_is_the_end(make: Callable[..., Any]) -> None:
    channel = make([b"one", b""])
    channel.read_ready()
    assert channel.trace[0] == b"one"
    assert isinstance(channel.trace[1], EOFError)
    channel = make([b""])
    channel.read_ready()
    assert channel.trace == ["ended"]


def test_a_record_that_does_not_fit_is_taken_in_parts(make: Callable[..., Any]) -> None:
    channel = make([b"abcdefgh"], size=3)
    channel.read_ready()
    assert channel.trace == [b"abc", b"def", b"gh"]


@pytest.mark.parametrize("name", ["_paused", "_closing"])
def test_reading_stops_in_the_middle_of_a_record(make: Callable[..., Any], name: str) -> None:
    channel = make([b"abcdefgh"], size=3, on_data=lambda one: setattr(one, name, True))
    channel.read_ready()
    assert channel.trace == [b"abc"]
    channel.read_ready()
    assert (channel.trace, channel.asked) == ([b"abc"], 1)


def test_all_is_taken_that_came_before_a_breakdown(make: Callable[..., Any]) -> None:
    channel = make([b"one", b"two", ConnectionResetError()], size=3)
    channel._broken = True
    channel.read_ready()
    assert channel.trace[:2] == [b"one", b"two"]
    assert isinstance(channel.trace[2], ConnectionResetError)


def test_an_exception_of_what_takes_the_bytes_is_told(make: Callable[..., Any]) -> None:
    channel = make([b"one"], on_data=lambda one: 1 // 0)
    channel.read_ready()
    assert isinstance(channel.trace[1], ZeroDivisionError)


def test_what_is_not_taken_waits_and_all_that_follows_behind_it(make: Callable[..., Any]) -> None:
    channel = make([])
    channel.write(b"")
    channel.write(b"early")
    assert channel.trace == [("refused", b"early", Nothing)]
    channel.asked = 1
    channel.write(b"now")
    channel.write(bytes(LONG_WRITE + 1))
    channel.write(b"behind")
    assert channel.trace[1:] == [("written", b"now")]
    assert channel.queued == [bytes(LONG_WRITE + 1), b"behind"]
    channel.queued.clear()
    channel._closing = True
    channel.write(b"late")
    assert (channel.trace[2:], channel.queued) == ([], [])


def test_both_do_the_same_with_whatever_comes() -> None:
    rng = random.Random(11)
    for _ in range(40):
        sizes = [rng.choice((1, 100, 4096, 16384)) for _ in range(5)]
        script: list[Any] = [rng.randbytes(size) for size in sizes]
        script += rng.choice(([], [b""], [ConnectionResetError()]))
        buffer = rng.choice((10, 5000, 65536))
        seen = []
        for module in MODULES:
            channel = made(module, list(script), buffer)
            for _ in range(8):
                channel.read_ready()
            told = [each if isinstance(each, bytes) else repr(each) for each in channel.trace]
            seen.append((told, channel.asked))
        assert all(each == seen[0] for each in seen)
