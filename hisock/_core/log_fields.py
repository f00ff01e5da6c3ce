"""The fields of log records, for programs that log as JSON: ``record.event`` and others."""

from __future__ import annotations

from typing import Any

from hisock._core.client_info import ClientInfo
from hisock._core.reporting import one_line


def fields(
    event: str,
    *,
    client: ClientInfo | str | None = None,
    command: str | None = None,
    reason: object = None,
    kind: str | None = None,
    withheld: int = 0,
) -> dict[str, Any]:
    """What a record holds besides its text; every record holds all of them.

    Text that comes from a peer is on one line, and cut.

    :param event: what happened, one word for each kind of line.
    :param client: the client that it is about, or what is known of its address.
    :param command: the command or reserved event.
    :param reason: why, as text or as an exception.
    :param kind: the kind of a connection's end, as in ``ServerStats.ended``.
    :param withheld: how many lines of this event were not logged.
    """
    name = client.name if isinstance(client, ClientInfo) else None
    address = client.ip if isinstance(client, ClientInfo) else client
    return {
        "event": event,
        "client": address,
        "client_name": None if name is None else one_line(name),
        "command": None if command is None else one_line(command),
        "reason": None if reason is None else one_line(reason),
        "kind": kind,
        "withheld": withheld,
    }
