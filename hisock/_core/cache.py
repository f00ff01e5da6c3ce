"""The message cache: the last frames that came, for programs that look back."""

from __future__ import annotations

from collections import deque
from typing import Any

from hisock._core.checks import require_number
from hisock.framing import build_header


class MessageCacheMember:
    """One cached frame.

    :ivar header: its header, bytes.
    :ivar content: the message if a handler or a ``recv`` took the frame, else the whole payload.
    :ivar called: whether one did.
    :ivar command: its command.
    """

    __slots__ = ("called", "command", "content", "header")

    def __init__(self, message_dict: dict[str, Any]) -> None:
        self.header: bytes | None = message_dict.get("header")
        self.content: bytes | None = message_dict.get("content")
        self.called: bool | None = message_dict.get("called")
        self.command: str | None = message_dict.get("command")

    def __repr__(self) -> str:
        return f"<MessageCacheMember: {self.content!r}>"


def payload_of(command: str | None, message: bytes | None) -> bytes:
    """The payload that a frame was read from."""
    if command is None:
        return message or b""
    payload = b"$CMD$" + command.encode()
    return payload if message is None else payload + b"$MSG$" + message


class MessageCache:
    """The last frames with a command.

    :param size: how many to keep; below 0 none, 0 all of them.
    """

    def __init__(self, size: int, header_len: int) -> None:
        require_number("cache_size", size)
        self.size = size
        self.enabled = size >= 0
        self._header_len = header_len
        self._members: deque[MessageCacheMember] | None = None

    def remember(self, command: str, message: bytes | None, called: bool) -> None:
        """Add a frame; ``called`` tells whether a handler or a ``recv`` took it."""
        payload = payload_of(command, message)
        if self._members is None:
            self._members = deque(maxlen=max(self.size, 0) or None)
        self._members.append(
            MessageCacheMember(
                {
                    "header": build_header(len(payload), self._header_len),
                    "content": message if called else payload,
                    "called": called,
                    "command": command,
                }
            )
        )

    def get(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all of them, the one at an index, or a slice."""
        members = list(self._members or ())
        return members if idx is None else members[idx]
