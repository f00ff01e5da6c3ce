"""The transport of what has ended, in place of the real one.

Transports of TLS and of WebSockets refer to their protocol for as long as they exist, so a protocol
that keeps its transport is a reference cycle: hundreds of KiB that wait for a full collection.
"""

from __future__ import annotations

import asyncio
from typing import Any


class EndedTransport(asyncio.Transport):
    """A transport that is closed, and does nothing more."""

    def is_closing(self) -> bool:
        return True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def close(self) -> None:
        """It is closed."""

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        """Nobody reads it."""

    def writelines(self, list_of_data: Any) -> None:
        """Likewise."""


ENDED = EndedTransport()
