"""The questions of ``$GETCLT$``, and the answers to them."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from hisock._core.addresses import format_addr
from hisock._core.client_info import ClientInfo, NoReference
from hisock._core.protocol import NOT_JSON, WireClient, as_name, encode_name
from hisock.framing import build_raw

#: What ``$GETCLT$`` is answered with when nobody has that name or address.
NO_SUCH_CLIENT: Final = "$NOEXIST$"


def build_no_such_client(header_len: int) -> bytes:
    """The answer to a ``$GETCLT$`` that names nobody."""
    return build_raw(json.dumps({"traceback": NO_SUCH_CLIENT}).encode(), header_len)


class ClientAnswer(msgspec.Struct, frozen=True):
    """The answer to ``$GETCLT$``: client info, or the reason why there is none."""

    ip: tuple[str, int] | None = None
    name: str | int | None = None
    group: str | int | None = None
    traceback: str | None = None

    @property
    def client(self) -> WireClient | None:
        if self.ip is None:
            return None
        return WireClient(self.ip, as_name(self.name), as_name(self.group))


_decode_answer = msgspec.json.Decoder(ClientAnswer).decode


def parse_client_answer(payload: bytes) -> ClientAnswer | None:
    """The answer to a ``$GETCLT$`` in a raw payload, ``None`` if that is something else."""
    try:
        answer = _decode_answer(payload)
    except NOT_JSON:
        return None
    return answer if answer.ip is not None or answer.traceback is not None else None


def client_text(client: Any) -> str:
    """A name or an address as the text that ``$GETCLT$`` takes.

    :raises ValueError: it names no client, or is longer than a name may be.
    """
    if isinstance(client, str):
        encode_name(client)
        return client
    if isinstance(client, ClientInfo):
        return client.ip
    if isinstance(client, (tuple, list)):
        return format_addr(client)
    raise NoReference(client)


def client_info(client: WireClient) -> ClientInfo:
    """A client that the server has told of."""
    return ClientInfo(client.ip, client.name, client.group)
