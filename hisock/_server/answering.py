"""Answering calls: at once where the handler is plain, otherwise when it has ended."""

from __future__ import annotations

import contextlib
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from hisock._core import call_frames, tracing
from hisock._core.calls import build_answer
from hisock._core.jobs import ENDS_PROGRAM, Dropped, never_awaited, report
from hisock._core.parts import is_stream
from hisock._core.protocol import CALL
from hisock._server.streaming import answer_streamed, answer_whole
from hisock.framing import send_reply, split_call

if TYPE_CHECKING:
    from hisock._server.connection import Connection

_BEGIN = len(CALL)


def answer_at_once(connection: Connection, payload: bytes) -> bool:
    """Answer a well-formed call of a plain handler; ``False`` for all others.

    This is :func:`answer` for the common case: the handler ends before anything else can happen,
    so that nobody has to find the call again, to cancel it for example.
    """
    parts = split_call(payload)
    if parts is None:
        return False
    number, command, message = parts
    events = connection.hub.events
    handler = events.plain.get(command)
    features = connection.features
    if handler is None or features is None or "call" not in features:
        return False
    answering = connection.running
    if answering is not None and answering.knows(number):
        return False
    try:
        result = handler(connection.info, message)
    except BaseException as exc:
        _fail(connection, call_frames.parse_call(payload[_BEGIN:]), exc)
        return True
    if type(result) is not bytes and not is_stream(result):
        with contextlib.suppress(Exception):  # what follows reports it
            result = events.codec.encode_exactly(result)
    if type(result) is bytes:
        try:
            if send_reply(connection.outbox, number, result):
                return True
        except ValueError:  # the header has not enough digits
            pass
    call = call_frames.parse_call(payload[_BEGIN:])
    if type(result) is CoroutineType:
        _fail(connection, call, never_awaited(result, call.command))
    else:
        answer_whole(call.command, partial(_write, connection, call))(result, None)
    return True


def _fail(connection: Connection, call: call_frames.Call, exc: BaseException) -> None:
    """Report what a handler raised, and tell the caller."""
    report(connection.hub.runner, exc, call.command, connection.info)
    _write(connection, call, None, exc)
    if isinstance(exc, ENDS_PROGRAM):
        raise exc


def _write(
    connection: Connection, call: call_frames.Call, result: Any, exc: BaseException | None
) -> None:
    hub, rich = connection.hub, connection.knows("errors")
    frame = build_answer(call, result, exc, hub.events, connection.info, hub.header_len, rich)
    connection.writer.write_control(frame)


def answer(connection: Connection, call: call_frames.Call, streams: bool) -> None:
    """Run the handler of a call, and answer when it has ended."""
    hub, answering = connection.hub, connection.answering
    if not answering.begin(call.number, streams):
        return

    done = partial(_end, connection, call)
    runs = partial(answering.runs, call.number)
    told = answer_streamed(connection, call, done) if streams else answer_whole(call.command, done)
    begin = partial(hub.events.call, connection, call.command, call.message, told, runs)
    tracing.handle(call.trace, begin)


def _end(
    connection: Connection, call: call_frames.Call, result: Any, exc: BaseException | None
) -> None:
    """The handler of a call has ended: answer, if the caller still waits."""
    if connection.answering.end(call.number) and not isinstance(exc, Dropped):
        _write(connection, call, result, exc)
