"""Runs of handlers, calls that wait for their replies, and the answers to calls."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from hisock._core import call_frames, protocol
from hisock._core.calls import (
    MOST_CANCELLED,
    MOST_ERROR_BYTES,
    CallTable,
    RunningCalls,
    build_answer,
)
from hisock._core.codec import find_codec
from hisock._core.jobs import Job, as_error
from hisock.exceptions import InvalidTypeCast, RemoteError
from hisock.framing import Decoder

from .driving import ADA, HandRunner, ServerSide


class KeptReply:
    """A waiter for one reply."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def deliver(self, value: bytes | None, /) -> bool:
        self.seen.append(value)
        return True

    def fail(self, exc: BaseException, /) -> None:
        self.seen.append(exc)


def fail_with(exc: BaseException) -> Any:
    raise exc


def test_a_job_reports_and_answers() -> None:
    runner, answers = HandRunner(), list[Any]()
    job = Job(runner, "x", None, ADA, lambda result, exc: answers.append((result, exc)))
    job.run(lambda: 1)
    error = ValueError("no luck")
    job.run(lambda: fail_with(error))
    assert answers == [(1, None), (None, error)]
    assert runner.reports == [(error, "x", ADA)]


def test_a_job_that_nobody_waits_for_only_reports() -> None:
    runner = HandRunner()
    job = Job(runner, "x", None, None)
    job.run(lambda: 1)
    job.run(lambda: fail_with(ValueError("no luck")))
    assert runner.errors == ["no luck"]


def test_a_job_that_ends_the_program_answers_first() -> None:
    runner, answers = HandRunner(), list[Any]()
    job = Job(runner, "x", None, None, lambda result, exc: answers.append(exc))
    with pytest.raises(SystemExit):
        job.run(lambda: fail_with(SystemExit(1)))
    assert [type(answer) for answer in answers] == [SystemExit]
    assert runner.reports == []


def test_what_is_no_exception_is_reported_as_one() -> None:
    cancelled = asyncio.CancelledError()
    error = as_error(cancelled)
    assert isinstance(error, RuntimeError)
    assert error.__cause__ is cancelled
    assert as_error(error) is error


# Calls that wait


def test_each_reply_goes_to_its_call() -> None:
    calls = CallTable(find_codec("json"))
    first, second = KeptReply(), KeptReply()
    numbers = calls.add(first), calls.add(second)
    assert len(calls) == 2
    assert calls.take_reply(call_frames.Reply(numbers[1], b"2"))
    assert calls.take_reply(call_frames.Reply(numbers[0], None, "no luck"))
    assert not calls.take_reply(call_frames.Reply(numbers[0], b"again"))
    assert second.seen == [b"2"]
    (error,) = first.seen
    assert isinstance(error, RemoteError)
    assert str(error) == "no luck"


def test_a_call_that_is_forgotten_gets_nothing() -> None:
    calls = CallTable(find_codec("json"))
    number = calls.add(KeptReply())
    calls.forget(number)
    calls.forget(number)
    assert not calls.take_reply(call_frames.Reply(number, b"late"))


def test_the_end_tells_all_that_wait_and_those_to_come() -> None:
    calls = CallTable(find_codec("json"))
    end = ConnectionError("over")
    before, after, again = KeptReply(), KeptReply(), KeptReply()
    calls.add(before)
    calls.fail_all(end)
    calls.add(after)
    calls.reopen()
    calls.add(again)
    assert (repr(before.seen), repr(after.seen), again.seen) == (repr([end]), repr([end]), [])


def test_the_end_bears_another_thread_that_takes_the_last_waiter() -> None:
    calls = CallTable(find_codec("json"))

    class Emptied(dict[int, Any]):
        def popitem(self) -> Any:
            self.clear()
            raise KeyError

    calls._waiting = Emptied({1: KeptReply()})
    calls.fail_all(ConnectionError("over"))
    assert len(calls) == 0


def test_an_error_brings_its_code_and_its_data() -> None:
    calls = CallTable(find_codec("json"))
    plain, rich, empty = KeptReply(), KeptReply(), KeptReply()
    calls.take_reply(call_frames.Reply(calls.add(plain), None, "no", 5))
    calls.take_reply(call_frames.Reply(calls.add(rich), None, "no", "odd", b"[1, 2]"))
    calls.take_reply(call_frames.Reply(calls.add(empty), None, "no", None, b""))
    (first,), (second,), (third,) = plain.seen, rich.seen, empty.seen
    assert (first.code, first.data, first.data_as(int)) == (5, None, None)
    assert (second.code, second.data, second.data_as(set[int])) == ("odd", [1, 2], {1, 2})
    with pytest.raises(InvalidTypeCast):
        second.data_as(dict[str, int])
    assert (third.data, third.data_as(str)) == (None, "")
    again = pickle.loads(pickle.dumps(second))
    assert (str(again), again.code, again.data) == ("no", "odd", [1, 2])


def test_the_code_of_an_error_is_a_text_or_a_number() -> None:
    code: Any = [1]
    with pytest.raises(TypeError, match="text or a number"):
        RemoteError("no", code=code)


# Calls that are handled


def test_a_running_call_is_cancelled() -> None:
    calls, cancelled = RunningCalls(), list[str]()
    assert calls.begin(1)
    calls.runs(1, lambda: cancelled.append("1"))
    assert calls.begin(2)
    calls.cancel(1)
    calls.cancel(2)
    assert cancelled == ["1"], "the other cannot be cancelled"
    assert not calls.end(1)
    assert not calls.end(2)
    assert calls.begin(3)
    assert calls.end(3)


def test_a_call_that_is_cancelled_before_it_begins_never_does() -> None:
    calls = RunningCalls()
    calls.cancel(1)
    assert not calls.begin(1)
    assert calls.begin(1), "it is another of that number"
    for number in range(MOST_CANCELLED + 1):
        calls.cancel(100 + number)
    assert calls.begin(100), "only so many are remembered"
    assert not calls.begin(101)


# Answers


def answer(
    side: ServerSide,
    result: Any,
    exc: BaseException | None,
    header_len: int = 16,
    knows_errors: bool = False,
) -> Any:
    call = call_frames.Call(7, "x", None)
    frame = build_answer(call, result, exc, side.events, ADA, header_len, knows_errors)
    ((command, payload),) = Decoder(header_len=header_len).feed(frame)
    assert command is None
    assert payload is not None
    assert payload.startswith(protocol.REPLY)
    reply = call_frames.parse_reply(payload[len(protocol.REPLY) :])
    assert reply.number == 7
    return reply


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_answer_is_what_the_handler_returned_or_raised() -> None:
    side = ServerSide()
    assert answer(side, [1, 2], None).message == b"[1,2]"
    assert answer(side, None, None).message is None
    assert answer(side, None, ValueError("no luck")).error == "no luck"
    assert answer(side, None, ValueError()).error == "ValueError"
    assert answer(side, None, Mute()).error == "Mute"
    assert answer(side, None, KeyboardInterrupt()).error == "the handler of 'x' ended its program"
    assert side.runner.reports == []


def test_what_cannot_be_sent_is_reported_and_answered() -> None:
    side = ServerSide()
    assert "complex" in answer(side, 1j, None).error
    assert "does not fit" in answer(side, bytes(1000), None, header_len=3).error
    assert len(side.runner.reports) == 2


@pytest.mark.parametrize("header_len", [2, 3, 16])
def test_the_text_of_an_error_is_cut_to_what_fits(header_len: int) -> None:
    text = "¡" * 100_000
    got = answer(ServerSide(), None, ValueError(text), header_len).error
    assert text.startswith(got)
    assert len(got.encode()) <= min(MOST_ERROR_BYTES, 10**header_len)
    assert len(got) > 10


def test_an_error_goes_with_code_and_data_to_callers_that_know_them() -> None:
    side = ServerSide()
    error = RemoteError("sold out", "sold_out", {"left": 0})
    reply = answer(side, None, error, knows_errors=True)
    assert (reply.error, reply.code, reply.data) == ("sold out", "sold_out", b'{"left":0}')
    assert answer(side, None, RemoteError("x", 5), knows_errors=True).data is None
    assert answer(side, None, RemoteError("x", 5, ""), knows_errors=True).data == b""
    assert answer(side, None, error).code is None
    assert side.runner.reports == []
    reply = answer(side, None, RemoteError("x", 5, 1j), knows_errors=True)
    assert (reply.error, reply.code, reply.data) == ("x", None, None)
    assert len(side.runner.reports) == 1
