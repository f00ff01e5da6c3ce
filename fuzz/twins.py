"""Both framing cores on the same bytes: what either makes of them, and whether it is the same."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hisock.framing import FramingError

HEADER_LENS = (16, 1, 2, 3, 8, 15, 17, 20)
LIMITS = (16 << 20, 1, 20, 200, 70_000, 10**18, 2**63 - 1, 10**30)
SCRATCH_SIZES = (65536, 1, 2, 7, 64, 1024)


class Difference(AssertionError):
    """The two cores do not agree, or one breaks a rule that holds for both."""


def load_cores() -> dict[str, Any]:
    """The decoder modules by name; without the extension there is only ``"python"``."""
    cores: dict[str, Any] = {"python": import_module("hisock._framing_py")}
    try:
        cores["compiled"] = import_module("hisock._framing")
    except ImportError:
        pass
    return cores


CORES = load_cores()


@dataclass(frozen=True)
class Case:
    """A stream, and how it arrives.

    :ivar first_limit: of the first frame, where it is another.
    :ivar steps: the pieces of it; with ``True``, received into the decoder's buffer, as the
        server does it, else handed to ``feed``.
    """

    header_len: int
    limit: int
    steps: tuple[tuple[bool, bytes], ...]
    first_limit: int | None = None

    @property
    def stream(self) -> bytes:
        return b"".join(data for _, data in self.steps)


def take(decoder: Any, received: bool, data: bytes) -> list[Any]:
    """Give a decoder one piece; the frames it completes, or the error it raises, and what shows.

    :returns: the frames, then (error, position, pending, held, lengths of the buffers handed out).
    """
    seen: list[Any] = []
    rooms: list[int] = []
    try:
        if not received:
            seen += decoder.feed(data)
        while received and data:
            view = decoder.get_buffer()
            rooms.append(len(view))
            count = min(len(view), len(data))
            view[:count] = data[:count]
            del view
            seen += decoder.buffer_updated(count)
            data = data[count:]
    except FramingError as exc:
        seen.append((exc.reason, exc.position))
    error = decoder.error
    seen.append(
        (
            None if error is None else (error.reason, error.position),
            decoder.position,
            decoder.pending,
            decoder.held,
            rooms,
        )
    )
    return seen


def ending(decoder: Any) -> Any:
    """What a decoder says when the stream ends here."""
    try:
        decoder.eof()
    except FramingError as exc:
        return exc.reason, exc.position
    return None


def run(case: Case, scratches: dict[str, Any]) -> list[Any]:
    """Run a case through every core.

    :param scratches: a ``Scratch`` per core. Kept from case to case, as a server does, so that
        what one stream left in its caches meets the next.
    :returns: what was seen: a list per step, and how the stream ended.
    :raises Difference: the cores do not agree, or one holds more than has come.
    """
    decoders = {
        name: core.Decoder(case.header_len, case.limit, scratches[name], case.first_limit)
        for name, core in CORES.items()
    }
    history: list[Any] = []
    came = 0
    for received, data in case.steps:
        came += len(data)
        seen = {name: take(decoder, received, data) for name, decoder in decoders.items()}
        _agree(case, seen)
        history.append(seen["python"])
        error, position, pending, held, _ = seen["python"][-1]
        if position + pending > came or (error and pending) or (held and not pending):
            raise Difference(f"{case}: {pending} of {came} bytes at {position}, {held} held")
    ends = {name: ending(decoder) for name, decoder in decoders.items()}
    _agree(case, ends)
    history.append(ends["python"])
    return history


def _agree(case: Case, seen: dict[str, Any]) -> None:
    if any(each != seen["python"] for each in seen.values()):
        raise Difference(f"{case}:\n" + "\n".join(f"{name}: {each}" for name, each in seen.items()))


def frames_of(history: list[Any]) -> list[tuple[str | None, bytes | None]]:
    """The frames in what :func:`run` returns."""
    # Each step ends with what shows of the decoder, and before that perhaps with an error.
    return [
        item
        for step in history[:-1]
        for item in step[:-1]
        if item[1] is None or isinstance(item[1], bytes)
    ]
