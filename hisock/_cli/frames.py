"""Frames as ``trace`` and ``connect --raw`` print them: one line each, or one JSON object."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any, Final, Literal, NamedTuple

from hisock._core.protocol import split_reserved
from hisock._core.reporting import one_line
from hisock.exceptions import ProtocolError
from hisock.framing import Frame

Way = Literal["to server", "to client"]
ARROWS: Final[dict[Way, str]] = {"to server": "-->", "to client": "<--"}
#: Secrets in the JSON of a hello.
_SECRET: Final = re.compile(rb'("(?:token|resume|admin)"\s*:\s*)"(?:[^"\\]|\\.)*"')


class ShownFrame(NamedTuple):
    """One frame, ready to be printed.

    :ivar at: when it passed, in seconds since the epoch.
    :ivar connection: the number of the connection, from 1.
    :ivar kind: ``"command"``, ``"reserved"`` or ``"raw"``.
    :ivar name: the command, or the reserved name; empty for a raw frame.
    :ivar data: the message, or what follows the name; ``None`` for nothing.
    """

    at: float
    connection: int
    way: Way
    kind: Literal["command", "reserved", "raw"]
    name: str
    data: bytes | None

    def line(self, cut: int) -> str:
        """One line of text.

        :param cut: characters of the message that are shown.
        """
        size = "" if self.data is None else f"{len(self.data)} B"
        name = self.name or "(raw)"
        text = "" if self.data is None else _text(self.data, cut)
        return (
            f"{clock(self.at)} #{self.connection} {ARROWS[self.way]} {one_line(name, 60):<14} "
            f"{size:>8}  {text}"
        ).rstrip()

    def as_json(self, cut: int) -> str:
        """One JSON object; what is not UTF-8 stands in ``base64``."""
        shown: dict[str, Any] = {
            "time": round(self.at, 6),
            "connection": self.connection,
            "direction": self.way,
            "kind": self.kind,
            "name": self.name,
            "size": 0 if self.data is None else len(self.data),
        }
        if self.data is not None:
            shown.update(data_fields(self.data, cut))
        return json.dumps(shown, ensure_ascii=False)


def clock(at: float) -> str:
    """The time of day with milliseconds."""
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"


def data_fields(data: bytes, cut: int) -> dict[str, Any]:
    """The fields of a JSON line that hold a message.

    :param cut: bytes of it that are kept; ``truncated`` says that there were more.
    """
    kept = data[:cut]
    truncated = {"truncated": True} if len(data) > cut else {}
    try:
        # A character that the cut went through is left out.
        text = kept.decode("utf-8", "ignore" if truncated else "strict")
        return {"message": text, **truncated}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(kept).decode(), **truncated}


def _text(data: bytes, cut: int) -> str:
    try:
        text = data[: 4 * cut + 4].decode(
            "utf-8", "ignore" if len(data) > 4 * cut + 4 else "strict"
        )
    except UnicodeDecodeError:
        text = repr(data[:cut])[2:-1]
        return text if len(data) <= cut else f"{text}..."
    return one_line(text, cut)


def describe(frame: Frame, connection: int, way: Way, show_secrets: bool) -> ShownFrame:
    """A frame as it is shown.

    :param show_secrets: show the tokens in hellos.
    """
    command, message = frame
    at = time.time()
    if command is not None:
        return ShownFrame(at, connection, way, "command", command, message)
    payload = message or b""
    try:
        reserved = split_reserved(payload)
    except ProtocolError:
        reserved = None
    if reserved is None:
        return ShownFrame(at, connection, way, "raw", "", payload)
    name, data = reserved
    if not show_secrets:
        data = _SECRET.sub(rb'\1"***"', data)
    return ShownFrame(at, connection, way, "reserved", name.decode(), data or None)
