"""Answering the calls of a server."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Any, Protocol

from hisock._core import call_frames, tracing
from hisock._core.calls import RunningCalls, build_answer
from hisock._core.client_events import ClientEvents
from hisock._core.jobs import ENDS_PROGRAM, Job, Origin
from hisock._core.log_fields import fields
from hisock._core.protocol import CALL
from hisock.framing import build_raw, split_call

logger = logging.getLogger("hisock.client")


class Called(Origin, Protocol):
    """A connection by which calls come; see :class:`hisock._client.session.Session`."""

    answering: RunningCalls
    features: frozenset[str] | None
    header_len: int

    def write_answer(self, frame: bytes) -> None:
        """Send a whole frame."""


def answer_at_once(session: Called, events: ClientEvents, payload: bytes) -> bool:
    """Answer a well-formed call of a plain handler; ``False`` for all others.

    This is :func:`answer` for the common case, in which nothing else happens meanwhile.
    """
    parts = split_call(payload)
    if parts is None:
        return False
    number, command, message = parts
    handler = events.plain.get(command)
    if handler is None or session.answering.knows(number):
        return False
    try:
        result = handler(message)
    except BaseException as exc:
        _job(session, events, payload).finish(None, exc)
        if isinstance(exc, ENDS_PROGRAM):
            raise
        return True
    frame = None
    if type(result) is not bytes:
        with contextlib.suppress(Exception):  # what follows reports it
            result = events.codec.encode_exactly(result)
    if type(result) is bytes:
        with contextlib.suppress(ValueError):  # the header has not enough digits
            frame = build_raw(b"$REPLY$%b$MSG$%b" % (number, result), session.header_len)
    if frame is None:
        _job(session, events, payload).finish(result, None)
    else:
        _write(session, frame, number, command)
    return True


def answer(session: Called, events: ClientEvents, call: call_frames.Call) -> None:
    """Run the handler of a call, and answer when it has ended."""
    answering = session.answering
    if not answering.begin(call.number):
        return

    def done(result: Any, exc: BaseException | None) -> None:
        if answering.end(call.number):
            _reply(session, events, call, result, exc)

    runs = partial(answering.runs, call.number)
    begin = partial(events.call, session, call.command, call.message, done, runs)
    tracing.handle(call.trace, begin)


def _job(session: Called, events: ClientEvents, payload: bytes) -> Job:
    """The call that a frame is, whose handler has ended."""
    call = call_frames.parse_call(payload[len(CALL) :])
    done = partial(_reply, session, events, call)
    return Job(events.runner, call.command, session, None, done)


def _reply(
    session: Called,
    events: ClientEvents,
    call: call_frames.Call,
    result: Any,
    exc: BaseException | None,
) -> None:
    knows_errors = "errors" in (session.features or ())
    frame = build_answer(call, result, exc, events, None, session.header_len, knows_errors)
    _write(session, frame, call.number, call.command)


def _write(session: Called, frame: bytes, number: object, command: object) -> None:
    """Send a reply on the call's own connection: elsewhere its number may mean another call."""
    try:
        session.write_answer(frame)
    except ConnectionError:
        said = fields("answer_unsent", command=str(command))
        logger.debug("the connection ended before call %s was answered", number, extra=said)
