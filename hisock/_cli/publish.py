"""``hisock publish``: sends to the clients of a cluster, without being a server."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from hisock._cluster.blocking_publisher import Publisher
from hisock._core.reporting import one_line
from hisock.exceptions import HiSockError


def add_to(app: typer.Typer) -> None:
    @app.command("publish", rich_help_panel="Clients")
    def publish(
        command: Annotated[str, typer.Argument(help="The command that clients get.")],
        message: Annotated[
            str | None, typer.Argument(help="JSON, or else a text; none by default.")
        ] = None,
        cluster: Annotated[
            str, typer.Option(envvar="HISOCK_CLUSTER", help="The cluster: a URL.")
        ] = ...,  # type: ignore[assignment] # typer's mark of what has to be given
        app_name: Annotated[str, typer.Option("--app", help="Its application.")] = "default",
        key: Annotated[
            str | None, typer.Option(envvar="HISOCK_CLUSTER_KEY", help="Its secret.")
        ] = None,
        group: Annotated[str | None, typer.Option(help="To the clients in a group.")] = None,
        room: Annotated[str | None, typer.Option(help="To the clients in a room.")] = None,
        client: Annotated[
            list[str] | None, typer.Option(help="To a client, by name or IP:PORT; repeatable.")
        ] = None,
        kick: Annotated[
            bool, typer.Option("--kick", help="Disconnect it, after the message.")
        ] = False,
        timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to connect.")] = 5.0,
    ) -> None:
        """Send a command to the clients of a cluster.

        For example: `hisock publish --cluster nats://10.0.0.5 --group lobby news '{"x": 1}'`.
        Without --group, --room and --client it goes to all of them.
        """
        if sum(target is not None for target in (group, room, client or None)) > 1:
            raise typer.BadParameter("give one of --group, --room and --client")
        if kick and not client:
            raise typer.BadParameter("--kick needs --client")
        content = None if message is None else _content(message)
        try:
            with Publisher(cluster, app=app_name, key=key, timeout=timeout) as out:
                if group is not None:
                    out.send_group(group, command, content)
                elif room is not None:
                    out.send_room(room, command, content)
                elif client:
                    out.send_many(client, command, content)
                    for one in client if kick else ():
                        out.disconnect_client(one)
                else:
                    out.send_all_clients(command, content)
        except (HiSockError, OSError, ValueError, ImportError) as exc:
            print(f"hisock publish: {one_line(exc)}", file=sys.stderr)
            raise typer.Exit(1 if isinstance(exc, OSError) else 2) from None


def _content(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
