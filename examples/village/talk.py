"""Talking: to all at one place, or to one villager."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
from accounts import Village

import hisock
from hisock.routing import Router


class Said(msgspec.Struct):
    """What was said, as it travels and as it is kept."""

    by: str
    text: str
    place: str


def chat(server: Village) -> Router:
    """The commands of the chat."""
    router = Router(prefix="chat.")
    history: deque[Said] = deque(maxlen=100)

    @router.on("say")
    def say(client: hisock.ClientInfo, text: str) -> int:
        if not text.strip():
            raise ValueError("nothing was said")
        said = Said(client.name or "", text, client.group or "")
        history.append(said)
        return server.send_group(client, "chat.said", said)

    @router.on("whisper")
    def whisper(client: hisock.ClientInfo, message: tuple[str, str]) -> None:
        to, text = message
        server.send_client(to, "chat.whispered", {"by": client.name, "text": text})

    @router.on("history")
    def tell(client: hisock.ClientInfo, most: int) -> Iterator[Said]:
        yield from list(history)[-most:]

    @router.on("join")
    def joined(client: hisock.ClientInfo) -> None:
        server.send_group("square", "chat.arrived", client.name)

    @router.on("group_change")
    def moved(client: hisock.ClientInfo, old: str | None, new: str | None) -> None:
        if old is not None:
            server.send_group(old, "chat.went", {"who": client.name, "to": new})

    return router
