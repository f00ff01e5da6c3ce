"""The commands of administrators: ``stats``, ``clients`` and ``kick``. Their messages are JSON."""

from __future__ import annotations

import heapq
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from hisock._core.reporting import one_line
from hisock._runtime.sockets import address_text
from hisock._server.handler_times import HandlerTimes
from hisock.constants import __version__
from hisock.framing import IMPLEMENTATION

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Clients in one answer at most.
MOST_CLIENTS = 1000

_encode = msgspec.json.Encoder().encode


class _ClientsQuestion(msgspec.Struct, frozen=True):
    limit: int = 20


class _KickQuestion(msgspec.Struct, frozen=True):
    client: str


class AdminCommands:
    """Answers administrators.

    :param admins: how many there are.
    """

    def __init__(self, hub: Hub, admins: Callable[[], int]) -> None:
        self._hub = hub
        self._admins = admins
        self._times: HandlerTimes | None = None
        self._begun = 0.0
        self._commands: Mapping[str, Callable[[bytes, str], Any]] = {
            "stats": self._stats,
            "clients": self._clients,
            "kick": self._kick,
        }

    def watched(self, watched: bool) -> None:
        """Time the handlers from now on, or no longer, which costs nothing."""
        if watched == (self._times is not None):
            return
        self._times = HandlerTimes() if watched else None
        self._begun = self._hub.loop.time()
        self._hub.events.handlers.watch(None if self._times is None else self._times.layer())

    def run(self, command: str, message: bytes | None, who: str) -> bytes:
        """The answer to a call.

        :param who: who asks, for the log.
        :raises LookupError: there is no such command, or no such client.
        :raises msgspec.MsgspecError: the message is not the JSON that it has to be.
        """
        answer = self._commands.get(command)
        if answer is None:
            known = ", ".join(self._commands)
            raise LookupError(f"there is no {one_line(command, 50)!r}; there are {known}")
        return _encode(answer(message or b"{}", who))

    def _stats(self, message: bytes, who: str) -> dict[str, Any]:
        hub, now = self._hub, self._hub.loop.time()
        return {
            "version": __version__,
            "framing": IMPLEMENTATION,
            "python": platform.python_version(),
            "loop": type(hub.loop).__module__.partition(".")[0],
            "admins": self._admins(),
            "stats": hub.stats(),
            "timed_seconds": round(now - self._begun, 3),
            "handlers": {} if self._times is None else self._times.figures(),
        }

    def _clients(self, message: bytes, who: str) -> dict[str, Any]:
        """The clients with the largest backlogs, and then those that send most."""
        question = msgspec.json.decode(message, type=_ClientsQuestion)
        limit = max(0, min(question.limit, MOST_CLIENTS))
        clients = [_described(connection) for connection in self._hub.registry]
        order: Callable[[dict[str, Any]], Any] = lambda each: (  # noqa: E731 - it has a type
            each["queued_bytes"],
            each["messages_in"],
        )
        return {"total": len(clients), "clients": heapq.nlargest(limit, clients, order)}

    def _kick(self, message: bytes, who: str) -> dict[str, Any]:
        question = msgspec.json.decode(message, type=_KickQuestion)
        connection = self._hub.registry.lookup(question.client)
        if connection is None:
            raise LookupError(f"no client is called {one_line(question.client, 100)!r}")
        described = _described(connection)
        reason = f"an administrator at {who} disconnected it"
        self._hub.leave(connection, "kicked", reason, goodbye=True)
        return described


def _described(connection: Connection) -> dict[str, Any]:
    info, figures = connection.info, connection.figures()
    return {
        "addr": address_text(info.addr),
        "name": info.name,
        "group": info.group,
        "rooms": sorted(connection.rooms or ()),
        "queued_bytes": connection.writer.backlog(),
        **figures._asdict(),
    }
