"""What ``hisock connect`` shows: lines for people, or JSON for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from hisock._cli.frames import ShownFrame, clock, data_fields
from hisock._core.reporting import one_line

#: Characters of a message that a person is shown; JSON lines hold all of it.
_CUT = 2000


class Messages:
    """Shows what happens, on standard output.

    :param as_json: one JSON object a line, each with ``time`` and ``event``.
    :param codec: that of the client.
    """

    def __init__(self, as_json: bool, codec: str) -> None:
        self._json = as_json
        self._msgpack = codec == "msgpack"

    def received(self, command: str | None, message: bytes | None) -> None:
        """A message has come; without a command, a raw frame."""
        name = "(raw)" if command is None else command
        self._show("message", f"<-- {name}", message, {"command": command})

    def reply(self, command: str, message: bytes | None, seconds: float) -> None:
        """A reply has come, or a part of one."""
        took = f"{seconds * 1000:.1f} ms"
        fields = {"command": command, "seconds": round(seconds, 6)}
        self._show("reply", f"<== {command} ({took})", message, fields)

    def event(self, name: str, text: str, **fields: Any) -> None:
        """Something else has happened."""
        if self._json:
            self._print_json({"event": name, **fields})
        else:
            self._print(f"{clock(time.time())} --- {name}: {text}")

    def error(self, text: str) -> None:
        """A line could not be done."""
        if self._json:
            self._print_json({"event": "error", "error": text})
        else:
            self._print(f"{clock(time.time())} !!! {text}")

    def frame(self, frame: ShownFrame) -> None:
        """A frame has passed, with ``--raw``."""
        if self._json:
            shown = {"event": "frame", **json.loads(frame.as_json(_CUT))}
            self._print(json.dumps(shown, ensure_ascii=False))
        else:
            self._print(frame.line(100))

    def help(self, lines: Mapping[str, str]) -> None:
        for usage, text in lines.items():
            self._print(f"  {usage:<26} {text}")

    def _show(self, event: str, text: str, message: bytes | None, fields: dict[str, Any]) -> None:
        if self._json:
            body = {} if message is None else data_fields(message, len(message))
            if message is not None and self._msgpack:
                body["value"] = self._value(message)
            self._print_json({"event": event, **fields, **body})
        else:
            shown = "" if message is None else f" {self._readable(message)}"
            self._print(f"{clock(time.time())} {text}{shown}")

    def _value(self, message: bytes) -> Any:
        """The structure in a message of MessagePack; ``None`` for plain text."""
        try:
            found = msgspec.msgpack.decode(message)
            return msgspec.to_builtins(found) if isinstance(found, (list, dict)) else None
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return None

    def _readable(self, message: bytes) -> str:
        value = self._value(message) if self._msgpack else None
        if value is not None:
            return one_line(value, _CUT)
        try:
            return one_line(message.decode(), _CUT)
        except UnicodeDecodeError:
            return one_line(repr(message)[2:-1], _CUT)

    def _print_json(self, fields: dict[str, Any]) -> None:
        shown = {"time": round(time.time(), 6), **fields}
        self._print(json.dumps(shown, ensure_ascii=False, default=repr))

    def _print(self, text: str) -> None:
        print(text, flush=True)
