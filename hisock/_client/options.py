"""What a client can be told when it is made, besides the address."""

from __future__ import annotations

from dataclasses import dataclass, field

from hisock._client.reconnect import Reconnect
from hisock._core.checks import require, require_numbers, seconds
from hisock._core.codec import find_codec
from hisock._core.error_handlers import ErrorHandler
from hisock._core.protocol import as_name
from hisock.framing import build_header


def require_token(token: object) -> None:
    """Refuse a token that the server would take for none.

    :raises TypeError: it is not text.
    """
    if not (token is None or isinstance(token, str)):
        raise TypeError(f"a token is text, not {type(token).__name__}")


@dataclass(frozen=True)
class ClientOptions:
    """The options of a client; :class:`~hisock.client.HiSockClient` explains them.

    :raises ValueError: one of them is not what it has to be.
    :raises TypeError: one of them is of another type.
    """

    name: str | None
    group: str | None
    header_len: int
    cache_size: int
    max_message_size: int
    timeout: float | None
    codec: str
    token: str | None
    reconnect: Reconnect | None
    offline_buffer: int
    error_handler: ErrorHandler | None = None
    strict: bool = False
    #: The server's ``admin_token``, to administer it instead of joining.
    admin: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("name", "group"):
            object.__setattr__(self, name, as_name(getattr(self, name)))
        require_token(self.token)
        require_numbers(self, "header_len max_message_size offline_buffer")
        object.__setattr__(self, "timeout", seconds(self.timeout))
        require(self.timeout is None or self.timeout > 0, "timeout", self.timeout)
        build_header(0, self.header_len)  # a ValueError unless it is 1 to 20
        find_codec(self.codec)
        require(self.max_message_size > 0, "max_message_size", self.max_message_size)
        require(self.offline_buffer >= 0, "offline_buffer", self.offline_buffer)

    @property
    def wants_answer(self) -> bool:
        """Whether the client is made only when the server has let it in."""
        return self.token is not None or self.admin is not None or self.codec != "json"
