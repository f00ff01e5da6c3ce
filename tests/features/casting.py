"""What a handler gets for a message, by the type that it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support import Events, Peer

import hisock


@dataclass(frozen=True)
class Bench:
    """A running server, a peer of it, and what its handlers saw."""

    server: hisock.ThreadedHiSockServer
    peer: Peer
    events: Events
    errors: list[Exception]

    def receive(self, annotation: Any, message: bytes | str | None) -> Any:
        """What a handler with that annotation gets for that message.

        :raises Exception: what was reported instead.
        """

        def handler(client: hisock.ClientInfo, value: Any) -> None:
            self.events.add("value", value)

        if annotation is not Ellipsis:
            handler.__annotations__["value"] = annotation
        else:
            del handler.__annotations__["value"]
        self.server.on("subject")(handler)
        failed, seen = len(self.errors), len(self.events.named("value"))
        self.peer.send("subject", message)
        self.peer.ask("ping", answer="pong")
        if len(self.errors) > failed:
            assert len(self.events.named("value")) == seen, "the handler was called as well"
            raise self.errors[-1]
        return self.events.named("value")[-1][0]
