"""Log records as events that a test can wait for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from support.events import Events


class LogEvents(Events):
    """Every record of a logger and its children from a level on, as ``(message, record)``."""

    @property
    def messages(self) -> list[str]:
        return [message for message, _ in self.seen]

    def wait_for_text(self, part: str) -> None:
        """Wait for a message that contains that text."""
        self.wait_until(lambda seen: any(part in message for message, _ in seen))

    def wait_one(self) -> logging.LogRecord:
        """Wait for the first record; there may be no second."""
        self.wait_until(lambda seen: seen)
        ((_, record),) = self.seen
        assert isinstance(record, logging.LogRecord)
        return record


class _Handler(logging.Handler):
    def __init__(self, events: LogEvents) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.add(record.getMessage(), record)


@contextlib.contextmanager
def logged(name: str, level: int = logging.WARNING) -> Iterator[LogEvents]:
    """Collect what is logged during the block."""
    events = LogEvents()
    handler = _Handler(events)
    handler.setLevel(level)
    logger = logging.getLogger(name)
    before = logger.level
    if logger.getEffectiveLevel() > level:
        logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield events
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
