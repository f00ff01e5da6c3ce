from collections.abc import Callable, Iterable
from typing import Any

from hisock.clients import ClientRef

class Outbox:
    limit: int
    refusing: bool
    sender: Any
    def __new__(
        cls,
        queue: list[Any],
        owner: object,
        schedule: Callable[[], object],
        header_len: int = 16,
        full: Callable[[Any], object] | None = None,
    ) -> Outbox: ...
    @property
    def owner(self) -> Any: ...
    @property
    def size(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def taken_frames(self) -> int: ...
    @property
    def taken_bytes(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def send(self, command: str, message: bytes | None = None) -> bool: ...
    def write(self, frame: bytes, /) -> bool: ...
    def take(self) -> list[bytes]: ...
    def close(self) -> None: ...

def fan_out(outboxes: Iterable[Outbox], frame: bytes, /) -> int: ...

class Recipient:
    _outbox: Outbox | None

def send_client(
    self: Any,
    client: ClientRef,
    command: str,
    content: Any = None,
    volatile: bool = False,
    latest: str | None = None,
) -> None: ...
