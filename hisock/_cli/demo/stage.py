"""The processes that the director has started, and what they say."""

from __future__ import annotations

import contextlib
import queue
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from time import perf_counter

from hisock._cli.demo.control import Child, DemoError, Message

#: Seconds that a child may take to start, to join or to answer.
SLACK = 60.0


class Stage:
    """The children, and what they have said."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._inbox: queue.Queue[tuple[Child, Message | None]] = queue.Queue()
        self._heard: dict[tuple[Child, str], deque[Message]] = defaultdict(deque)

    def start(
        self, module: str, settings: Message, private: Mapping[str, str] | None = None
    ) -> Child:
        return self._stack.enter_context(Child(module, settings, self._inbox, private))

    def take(self, child: Child, kind: str) -> list[Message]:
        """What a child has said of that kind since the last time, without waiting.

        :raises DemoError: a child ended.
        """
        while not self._inbox.empty():
            self._note(*self._inbox.get())
        waiting = self._heard[child, kind]
        taken = list(waiting)
        waiting.clear()
        return taken

    def collect(
        self, kind: str, children: Iterable[Child], timeout: float = SLACK
    ) -> list[Message]:
        """One message of that kind from each child.

        :raises DemoError: a child ended, or said nothing in time.
        """
        deadline = perf_counter() + timeout
        messages = []
        for child in children:
            waiting = self._heard[child, kind]
            while not waiting:
                self._hear(child, kind, deadline)
            messages.append(waiting.popleft())
        return messages

    def _hear(self, awaited: Child, kind: str, deadline: float) -> None:
        try:
            child, message = self._inbox.get(timeout=max(0.0, deadline - perf_counter()))
        except queue.Empty:
            raise DemoError(f"the {awaited.name} process did not say {kind!r} in time") from None
        self._note(child, message)

    def _note(self, child: Child, message: Message | None) -> None:
        if message is None:
            status = child.end()
            raise DemoError(
                f"the {child.name} process ended early, with status {status}\n{child.last_words()}"
            )
        self._heard[child, message["kind"]].append(message)
