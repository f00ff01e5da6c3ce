"""Drives the programs that run on 2.0.2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support import Events, OldHiSock, Peer, Program, free_port
from support.events import PATIENCE

import hisock

PROGRAMS = Path(__file__).parent / "programs"


class Agent:
    """A 2.0.2 process that takes orders and reports what its handlers saw.

    :ivar addr: where a server listens, or where a client is connected from.
    """

    def __init__(self, program: Program, addr: tuple[str, int] | None = None) -> None:
        self.program = program
        ready = self.wait("ready")
        self.addr: tuple[str, int] = addr or tuple(ready[0])

    def order(self, order: str, *arguments: Any) -> None:
        self.program.tell(json.dumps([order, *arguments]))

    def end(self) -> None:
        self.program.kill()

    def wait(self, event: str, *start: Any, timeout: float = PATIENCE) -> list[Any]:
        """The values of the next report of that event which begins with ``start``.

        Reports before it are skipped for good.
        """
        prefix = json.dumps([event, *start])[:-1]
        line = self.program.wait_line("^" + re.escape(prefix) + r"(,|\])", timeout)
        values: list[Any] = json.loads(line)
        return values[1:]

    @property
    def reports(self) -> list[list[Any]]:
        """Everything reported so far."""
        return [json.loads(line) for line in self.program.lines]


class ServerAgent(Agent):
    """A 2.0.2 server. It takes orders as messages of one more client.

    That way they are carried out by its loop; 2.0.2 does not survive every call from other threads.
    """

    _control: Peer | None = None

    def order(self, order: str, *arguments: Any) -> None:
        if self._control is None:
            self._control = Peer.joined(self.addr, "control")
        self._control.send("order", json.dumps([order, *arguments]))

    def end(self) -> None:
        super().end()
        if self._control is not None:
            self._control.close()


def old_client(
    old: OldHiSock, addr: tuple[str, int], name: str | None = None, group: str | None = None
) -> Agent:
    """A 2.0.2 client, connected."""
    script = PROGRAMS / "agent_client.py"
    return Agent(old.start(script, str(addr[1]), name or "-", group or "-"))


def old_server(old: OldHiSock, *options: str) -> ServerAgent:
    """A 2.0.2 server, listening."""
    port = free_port()
    program = old.start(PROGRAMS / "agent_server.py", str(port), *options)
    return ServerAgent(program, ("127.0.0.1", port))


def record_all(client: hisock.HiSockClient, events: Events, kinds: dict[str, Any]) -> None:
    """Record everything that arrives at a client of ours.

    :param kinds: the type that each command's message is cast to.
    """
    for kind, annotation in kinds.items():

        def handler(message: Any, *, _kind: str = kind) -> None:
            events.add(_kind, message)

        handler.__annotations__["message"] = annotation
        client.on(kind)(handler)

    @client.on("client_connect")
    def connected(info: hisock.ClientInfo) -> None:
        events.add("client_connect", info.addr, info.name, info.group)

    @client.on("client_disconnect")
    def disconnected(info: hisock.ClientInfo) -> None:
        events.add("client_disconnect", info.addr, info.name, info.group)

    @client.on("force_disconnect")
    def force_disconnected() -> None:
        events.add("force_disconnect")

    @client.on("*")
    def anything_else(command: str | None, message: bytes) -> None:
        events.add("*", command, message)
