"""Questions between nodes: calls to clients of other nodes, and to the nodes themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from hisock._cluster.peers import OtherNode
from hisock._cluster.records import Answer, Cancel, Question, entry_of
from hisock._cluster.streams import Streams
from hisock._core import call_frames
from hisock._core.calls import CallTable, CallWaiter
from hisock._core.codec import Codec
from hisock._core.reporting import error_text
from hisock.exceptions import (
    ClientNotFound,
    ConnectionLost,
    HiSockError,
    NotSupported,
    RemoteError,
)

#: Questions of one node that are being answered at most; more are refused.
_MOST_OPEN: Final = 10_000

#: Kinds of errors, most special first, as they go to the node that asked.
_KINDS: Final[dict[str, type[Exception]]] = {
    "remote": RemoteError,
    "missing": ClientNotFound,
    "unsupported": NotSupported,
    "lost": ConnectionLost,
}


class Asked(Protocol):
    """What answers a question: a client's connection, or the program's handlers."""

    def __call__(
        self, node: OtherNode, question: Question, answer: Answering, /
    ) -> Callable[[], None]:
        """Begin to answer; returns what ends it early.

        :raises HiSockError: it cannot be asked.
        """


class Answering:
    """Takes the result of one question, once: a :class:`CallWaiter`."""

    def __init__(self, done: Callable[[bytes | None, BaseException | None], None]) -> None:
        self._done = done

    def deliver(self, value: bytes | None, /) -> bool:
        self._done(value, None)
        return True

    def fail(self, exc: BaseException, /) -> None:
        self._done(None, exc)


class Questions:
    """Asks other nodes, and answers them.

    Questions is allowed from any thread; everything else runs on the loop's.

    :ivar client: answers a question to a client of this node; ``node`` one to the node.
    """

    def __init__(self, streams: Streams, codec: Codec) -> None:
        self.client: Asked
        self.node: Asked
        self._streams = streams
        self._codec = codec
        self._calls = CallTable(codec)
        #: Which node each of our open questions went to.
        self._asked: dict[int, str] = {}
        #: What ends each question that is being answered, by node and number.
        self._open: dict[str, dict[int, Callable[[], None]]] = {}

    # -- asking

    def ask(
        self,
        node: str,
        client: int,
        command: str,
        message: bytes | None,
        timeout: float | None,
        waiter: CallWaiter,
    ) -> int:
        """Ask a node, or a client of it; returns the number for :meth:`forget`.

        :raises ConnectionLost: there is no such node, or the link is down.
        """
        if not self._streams.up or node not in self._streams.lanes:
            raise ConnectionLost(f"the node {node} cannot be reached")
        number = self._calls.add(waiter)
        self._asked[number] = node
        question = Question(number, client, command, message, timeout)
        self._streams.put([node], entry_of(question), push=True)
        return number

    def forget(self, number: int, cancel: bool = False) -> None:
        """Stop waiting.

        :param cancel: tell the node, which may still be at it.
        """
        self._calls.forget(number)
        node = self._asked.pop(number, None)
        if node is not None and cancel:
            self._streams.put([node], entry_of(Cancel(number)), push=True)

    def take_answer(self, node: OtherNode, answer: Answer) -> None:
        """An answer has come."""
        if self._asked.get(answer.number) != node.hello.node:
            return
        del self._asked[answer.number]
        if answer.kind in ("ok", "remote"):
            error = None if answer.kind == "ok" else answer.text
            reply = call_frames.Reply(
                answer.number, answer.message, error, answer.code, answer.data
            )
            self._calls.take_reply(reply)
        else:
            waiter = self._calls.take(answer.number)
            if waiter is not None:
                waiter.fail(_KINDS.get(answer.kind, ConnectionLost)(answer.text))

    # -- answering

    def take_question(self, node: OtherNode, question: Question) -> None:
        """A node asks."""
        name, number = node.hello.node, question.number
        running = self._open.setdefault(name, {})
        ended = False

        def done(value: bytes | None, exc: BaseException | None) -> None:
            nonlocal ended
            if not ended:
                ended = True
                running.pop(number, None)
                self._streams.put([name], entry_of(self._answer(number, value, exc)), push=True)

        if number in running or len(running) >= _MOST_OPEN:
            done(None, ConnectionLost("the node has too many questions to answer"))
            return
        try:
            ask = self.client if question.client else self.node
            end = ask(node, question, Answering(done))
        except (HiSockError, ValueError) as exc:
            done(None, exc)
        else:
            if not ended:
                running[number] = end

    def _answer(self, number: int, value: bytes | None, exc: BaseException | None) -> Answer:
        if exc is None:
            return Answer(number, "ok", value)
        kind = next((kind for kind, its in _KINDS.items() if isinstance(exc, its)), "remote")
        text = error_text(exc)[:10_000]
        if not isinstance(exc, RemoteError) or (exc.code is None and exc.data is None):
            return Answer(number, kind, None, text)
        try:
            data = None if exc.data is None else (self._codec.encode_exactly(exc.data) or b"")
        except Exception:
            data = None
        return Answer(number, kind, None, text, exc.code, data)

    def take_cancel(self, node: OtherNode, cancel: Cancel) -> None:
        """The node that asked has stopped waiting."""
        end = self._open.get(node.hello.node, {}).pop(cancel.number, None)
        if end is not None:
            end()

    # -- ends

    def node_left(self, node: str) -> None:
        """A node is gone: it will not answer, and nobody waits there for answers."""
        for number, asked in list(self._asked.items()):
            if asked == node:
                self._fail(number, f"the node {node} is gone")
        for end in list(self._open.pop(node, {}).values()):
            end()

    def link_down(self) -> None:
        """No answers will come."""
        for number in list(self._asked):
            self._fail(number, "the link to the other nodes is down")

    def _fail(self, number: int, text: str) -> None:
        self._asked.pop(number, None)
        waiter = self._calls.take(number)
        if waiter is not None:
            waiter.fail(ConnectionLost(text))


def as_asked(exc: BaseException) -> BaseException:
    """An exception of a handler, as a node that asked gets it."""
    asked = exc if isinstance(exc, tuple(_KINDS.values())) else RemoteError(error_text(exc))
    if isinstance(asked, RemoteError):
        asked._received = True
    return asked


async def gather(
    waiting: dict[str, asyncio.Future[Any]], timeout: float
) -> tuple[dict[str, Any], list[str]]:
    """The results that came in time, and the keys of those that did not or failed."""
    if waiting:
        await asyncio.wait(waiting.values(), timeout=timeout)
    results: dict[str, Any] = {}
    missing: list[str] = []
    for key, future in waiting.items():
        if future.done() and not future.cancelled() and future.exception() is None:
            results[key] = future.result()
        else:
            future.cancel()
            missing.append(key)
    return results, missing
