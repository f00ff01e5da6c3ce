"""What is logged: how often, and that a peer cannot write into it.

Text that comes from a peer (names, messages in texts of errors, the first bytes of a stream) may
hold line breaks, control characters and megabytes. It is logged on one line, escaped and cut.
"""

from __future__ import annotations

import re
from typing import Any

from hisock._core.rates import RateLimit
from hisock.exceptions import FramingError

#: Characters of one text that a log line repeats, where the caller says nothing else.
MOST_SHOWN = 300
_WITHHELD = "_hisock_withheld"


class LogLimit:
    """Keeps a flood of events from becoming a flood of log lines.

    :ivar withheld: how many lines have been withheld since the last reset.
    """

    def __init__(self, rate: float = 20, burst: float = 200) -> None:
        self._rate = rate
        self._burst = burst
        self._limit: RateLimit | None = None
        self.withheld = 0

    def permits(self, now: float) -> bool:
        """Whether one more line may be logged; counts it if not."""
        if self._limit is None:
            self._limit = RateLimit(self._rate, self._burst, now)
        if self._limit.allowance(now):
            self._limit.spend(1)
            return True
        self.withheld += 1
        return False

    def reset(self) -> int:
        """How many lines were withheld; the count starts afresh."""
        withheld, self.withheld = self.withheld, 0
        return withheld


def error_text(exc: BaseException) -> str:
    """What an exception says, or else its type's name; some fail to say anything."""
    try:
        return str(exc) or type(exc).__name__
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        return type(exc).__name__


def one_line(text: object, most: int = MOST_SHOWN) -> str:
    """A text as a log line may repeat it: printable, on one line, cut.

    :param text: anything; an exception stands for its message.
    :param most: characters of it that are kept.
    """
    shown = error_text(text) if isinstance(text, BaseException) else str(text)
    cut = shown[:most]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)
    return cut if len(shown) <= most else f"{cut}..."


def without_bytes(error: FramingError) -> str:
    """What is wrong with a stream, without the bytes that are wrong: they may be those of a token.

    A hello that is read with another ``header_len`` than it was built with is such a stream, and so
    is TLS without ``ssl=``; the text asks for both.
    """
    reason = re.split(r""" b['"]""", error.reason, maxsplit=1)[0]
    where = f"{reason} (at byte {error.position} of the stream)"
    if reason != "bad header":
        return where
    return f"{where}; do both ends have the same header_len, and both TLS or neither?"


def withhold(exc: BaseException) -> None:
    """Have :func:`loggable` show nothing of an exception's message: it may hold a token."""
    exc.__dict__[_WITHHELD] = True


def loggable(exc: BaseException) -> BaseException:
    """An exception as a log may show it, with its traceback.

    It is the exception itself where all that a traceback shows of it and its causes besides the
    program is printable and short: messages, notes, the line of a syntax error. Else it is one of
    the same name with the message and each note on one line; the original is not changed.
    """
    chain = _chain_of(exc)
    secret = any(_WITHHELD in each.__dict__ for each in chain)
    if not secret and all(map(_is_harmless, chain)):
        return exc
    made = {id(each): _stand_in(each, secret) for each in chain}
    for each in chain:
        stand_in = made[id(each)]
        stand_in.__cause__ = made.get(id(each.__cause__))
        stand_in.__context__ = made.get(id(each.__context__))
        stand_in.__suppress_context__ = each.__suppress_context__
    return made[id(exc)]


def _stand_in(exc: BaseException, secret: bool) -> BaseException:
    """An exception that looks like another in a traceback, and has a harmless message."""
    kind = type(exc)
    text = "(not logged, it may hold the token)" if secret else one_line(exc)
    attributes = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    made: Exception = type(kind.__name__, (Exception,), attributes)(text)
    if not secret and (notes := _notes_of(exc)):
        made.__dict__["__notes__"] = [one_line(note) for note in notes]
    return made.with_traceback(exc.__traceback__)


def _is_harmless(exc: BaseException) -> bool:
    texts = [error_text(exc), *_notes_of(exc)]
    if isinstance(exc, SyntaxError) and exc.text:  # a handler may have parsed a message
        texts.append(str(exc.text).rstrip("\n").expandtabs())
    return all(len(text) <= MOST_SHOWN and text.isprintable() for text in texts)


def _notes_of(exc: BaseException) -> list[str]:
    notes = getattr(exc, "__notes__", ())
    return [str(note) for note in notes] if isinstance(notes, (list, tuple)) else []


def _chain_of(exc: BaseException) -> list[BaseException]:
    """An exception and all that a traceback shows with it."""
    chain: list[BaseException] = []
    seen: set[int] = set()
    waiting: list[Any] = [exc]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            chain.append(each)
            waiting += (each.__cause__, each.__context__, *getattr(each, "exceptions", ()))
    return chain
