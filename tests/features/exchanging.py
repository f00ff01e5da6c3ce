"""A server and a client that send each other values."""

from __future__ import annotations

from typing import Any

from support import Events
from support.fixtures import MakeClient, MakeServer

import hisock


class Exchange:
    """A server and a client; what one sends, a handler of the other gets."""

    def __init__(self, make_server: MakeServer, make_client: MakeClient, codec: str) -> None:
        self.events = Events()
        self.server = make_server(codec=codec)
        self.server.on("join")(lambda client: self.events.add("join"))
        self.server.start(error_handler=lambda exc: self.events.add("error", exc))
        self.client = make_client(self.server, "ann", codec=codec)
        self.client.start(error_handler=lambda exc: self.events.add("error", exc))
        self.events.wait_for("join")
        self.count = 0

    def received(self, value: Any, annotation: Any) -> Any:
        """What a handler of the server gets, having seen that the client's gets the same."""
        self.count += 1
        command = f"value {self.count}"

        def at_server(client: hisock.ClientInfo, message: Any) -> None:
            self.events.add(command, "server", message)

        def at_client(message: Any) -> None:
            self.events.add(command, "client", message)

        for handler, owner in ((at_server, self.server), (at_client, self.client)):
            handler.__annotations__["message"] = annotation
            owner.on(command)(handler)
        self.client.send(command, value)
        self.server.send_client("ann", command, value)
        seen = self.events.wait_until(
            lambda seen: len([e for e in seen if e[0] in (command, "error")]) >= 2
        )
        failed = [event[1] for event in seen if event[0] == "error"]
        if failed:
            raise failed[0]
        ours, theirs = (event[2] for event in seen if event[0] == command)
        assert repr(ours) == repr(theirs) or ours == theirs
        return ours
