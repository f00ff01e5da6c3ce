"""The cache, rates, checks of options, commands in vain, and error handlers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.logs import logged

from hisock._core.cache import MessageCache, MessageCacheMember, payload_of
from hisock._core.checks import require
from hisock._core.error_handlers import ErrorContext, bind_error_handler
from hisock._core.events import EventTable
from hisock._core.inspection import Inspection
from hisock._core.parts import Parts
from hisock._core.rates import RateLimit
from hisock._core.unhandled import MOST_COMPARED, MOST_NAMES, OTHERS, Unhandled
from hisock._runtime.draining import in_transport

from .driving import ADA, ServerSide

# The cache


def test_a_cache_keeps_the_last_frames() -> None:
    cache = MessageCache(2, 16)
    assert cache.enabled
    cache.remember("a", b"1", True)
    cache.remember("b", b"2", False)
    cache.remember("c", None, False)
    first, second = cache.get()
    assert (first.command, first.called, first.content) == ("b", False, b"$CMD$b$MSG$2")
    assert second.content == b"$CMD$c"
    assert second.header == b"6" + b" " * 15
    assert cache.get(-1) is second
    assert cache.get(slice(0, 1)) == [first]
    assert repr(second) == "<MessageCacheMember: b'$CMD$c'>"


def test_a_cache_of_0_keeps_all_and_one_below_0_is_off() -> None:
    assert not MessageCache(-1, 16).enabled
    cache = MessageCache(0, 16)
    for number in range(100):
        cache.remember("a", str(number).encode(), True)
    assert [member.content for member in cache.get()][-1] == b"99"
    assert len(cache.get()) == 100


def test_a_member_is_made_of_what_is_known() -> None:
    assert MessageCacheMember({}).content is None


def test_a_payload_is_what_the_frame_held() -> None:
    assert payload_of(None, None) == b""
    assert payload_of(None, b"raw") == b"raw"
    assert payload_of("a", None) == b"$CMD$a"
    assert payload_of("a", b"") == b"$CMD$a$MSG$"


# Rates


def test_a_bucket_fills_by_the_rate_up_to_the_burst() -> None:
    limit = RateLimit(rate=10, burst=5, now=0)
    assert limit.allowance(0) == 5
    assert limit.spend(5) == 0
    assert limit.allowance(0.05) == 0
    assert limit.spend(2) == pytest.approx(0.15)
    assert limit.allowance(0.2) == 0
    assert limit.allowance(0.3) == 1
    assert limit.allowance(100) == 5


# Checks


def test_a_check_says_what_was_expected() -> None:
    require(True, "announce", "all")
    with pytest.raises(ValueError, match="announce is 'all', 'group' or 'none', not 'x'"):
        require(False, "announce", "x")
    with pytest.raises(ValueError, match="timeout is more than 0, not 0"):
        require(False, "timeout", 0)


# Commands in vain


def make_unhandled(*known: str) -> Unhandled:
    return Unhandled(logging.getLogger("hisock.test"), known)


def test_a_command_in_vain_is_told_of_once() -> None:
    unhandled = make_unhandled("move", "*")
    with logged("hisock.test") as log:
        for _ in range(3):
            text = unhandled.note("mvoe")
    assert text == "there is no handler for 'mvoe'; did you mean 'move'?"
    assert log.messages == [text]
    assert unhandled.counts == {"mvoe": 3}


def test_names_that_a_peer_makes_up_are_counted_together() -> None:
    unhandled = make_unhandled()
    with logged("hisock.test") as log:
        for number in range(MOST_NAMES + 50):
            unhandled.note(f"name {number}")
    assert len(unhandled.counts) == MOST_NAMES + 1
    assert unhandled.counts[OTHERS] == 50
    assert len(log.messages) == MOST_NAMES


def test_what_a_peer_repeats_or_makes_up_is_not_compared_again() -> None:
    asked = []

    class Known(list[str]):
        def __iter__(self) -> Iterator[str]:
            asked.append("move")
            return super().__iter__()

    unhandled = Unhandled(logging.getLogger("hisock.test"), Known(["move"]))
    with logged("hisock.test"):
        first = unhandled.note("mvoe")
        for number in range(MOST_NAMES + 50):
            assert unhandled.note("mvoe") == first
            unhandled.note(f"mov{number}")
    assert len(asked) == MOST_COMPARED
    assert unhandled.note("mov999") == "there is no handler for 'mov999'"
    assert unhandled.counts["mvoe"] == MOST_NAMES + 51


def test_a_name_is_told_on_one_line_and_cut() -> None:
    unhandled = make_unhandled("x" * 5000)
    text = unhandled.note("forged\nline" + "x" * 5000)
    assert "\n" not in text
    assert len(text) < 200
    assert unhandled.nearest("x" * 5000) is None


@pytest.mark.parametrize(("command", "nearest"), [("mvoe", "move"), ("quit", None), ("", None)])
def test_the_nearest_command(command: str, nearest: str | None) -> None:
    assert make_unhandled("move", "*", "say").nearest(command) == nearest


# Error handlers

ERROR = ValueError("no luck")
CONTEXT = ErrorContext("x", ADA)


class Keeper:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def both(self, exc: Exception, context: ErrorContext) -> None:
        self.seen.append((exc, context))

    def one(self, exc: Exception) -> None:
        self.seen.append(exc)

    def its_own(self, exc: Exception, times: int = 1, *args: Any, **more: Any) -> None:
        self.seen.append((exc, times))

    def optional(self, exc: Exception, context: Any = None) -> None:
        self.seen.append((exc, context))

    def many(self, *args: Any) -> None:
        self.seen.append(args)


@pytest.mark.parametrize(
    ("form", "seen"),
    [
        ("both", (ERROR, CONTEXT)),
        ("one", ERROR),
        ("its_own", (ERROR, 1)),
        ("optional", (ERROR, CONTEXT)),
        ("many", (ERROR,)),
    ],
)
def test_an_error_handler_gets_what_it_takes(form: str, seen: Any) -> None:
    keeper = Keeper()
    bind_error_handler(getattr(keeper, form))(ERROR, CONTEXT)
    assert keeper.seen == [seen]


def test_a_built_in_gets_the_error_alone() -> None:
    seen: list[Any] = []
    bind_error_handler(seen.append)(ERROR, CONTEXT)
    assert seen == [ERROR]
    silent: Any = dict  # it tells nothing about its arguments
    bind_error_handler(silent)


def three(exc: Exception, context: Any, more: Any) -> None: ...
def keyword(exc: Exception, *, context: Any) -> None: ...
async def later(exc: Exception) -> None: ...


@pytest.mark.parametrize("wrong", [three, keyword, later])
def test_an_error_handler_that_cannot_be_called(wrong: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="error handler"):
        bind_error_handler(wrong)


# What programs may look up


def test_what_a_program_can_look_up() -> None:
    side = ServerSide(cache_size=3)

    class Server(Inspection):
        def _event_table(self) -> EventTable:
            return side.events

    server = Server()
    side.events.on("a")(lambda client, message: None)
    side.send(("a", b"1"), ("b", b"2"))
    assert server.cache_size == 3
    assert [member.command for member in server.cache] == ["a", "b"]
    assert server.get_cache(0).content == b"1"
    assert list(server.funcs) == ["a"]
    with pytest.raises(TypeError):
        server.funcs["b"] = {}  # type: ignore[index]


# The parts of a reply


def test_what_ends_a_reply_early_comes_after_the_parts_before_it() -> None:
    parts = Parts(lambda: None)
    parts.take(b"1")
    parts.fail(ConnectionError("lost"))
    assert (parts.pop(), parts.ended) == (b"1", False)
    with pytest.raises(ConnectionError, match="lost"):
        parts.pop()
    assert parts.ended


class Sleeper:
    """Waits for a part."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def deliver(self, value: None, /) -> bool:
        return True

    def fail(self, exc: BaseException, /) -> None:
        self.failures.append(str(exc))


def test_who_waits_for_a_part_is_told_that_none_will_come() -> None:
    parts, waiter = Parts(lambda: None), Sleeper()
    assert parts.wake(waiter)
    parts.fail(ConnectionError("lost"))
    assert waiter.failures == ["lost"]
    assert not parts.wake(Sleeper()), "there is something to take"


# What a transport holds


class Busy(asyncio.WriteTransport):
    """A transport whose loop writes while another thread adds up what waits, as asyncio's may."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: deque[bytes] = deque([b"abc", b"de"])

    def get_write_buffer_size(self) -> int:
        size = 0
        for chunk in self.waits:
            size += len(chunk)
            if len(self.waits) == 2:
                self.waits.append(b"f")
        return size


def test_what_waits_is_added_up_while_the_loop_writes() -> None:
    assert in_transport(Busy()) == 6


def test_a_transport_that_always_fails_to_say_what_waits_is_not_asked_for_ever() -> None:
    class Broken(asyncio.WriteTransport):
        def get_write_buffer_size(self) -> int:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        in_transport(Broken())
