"""``hisock demo``: a game on this machine."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import webbrowser
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from rich.console import Console

from hisock import Cluster
from hisock._cli.demo.control import DemoError
from hisock._cli.demo.director import Settings, run
from hisock._cli.demo.screen import Lines, LiveTable, summary
from hisock._cli.usage import UNUSABLE


def add_to(app: typer.Typer) -> None:
    @app.command(rich_help_panel="Try and measure")
    def demo(
        players: Annotated[
            int | None, typer.Option(min=1, help="Simulated players: 200, or 24 with --web.")
        ] = None,
        rooms_of: Annotated[
            int | None, typer.Option(min=1, help="Players to a room: 20, or all with --web.")
        ] = None,
        rate: Annotated[float, typer.Option(min=0.1, help="Moves a second of each.")] = 20.0,
        seconds: Annotated[
            float | None, typer.Option(min=0.1, help="How long: 10, or with --web to Ctrl-C.")
        ] = None,
        processes: Annotated[int, typer.Option(min=1, help="Processes of players.")] = 2,
        port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
        plain: Annotated[bool, typer.Option("--plain", help="Lines, not a live table.")] = False,
        web: Annotated[
            bool, typer.Option("--web", help="Serve a page: play along in any browser.")
        ] = False,
        web_port: Annotated[
            int, typer.Option(min=0, max=65535, help="Port of the page; 0: any free port.")
        ] = 0,
        host: Annotated[
            str, typer.Option(help="0.0.0.0 lets phones on your network play along.")
        ] = "127.0.0.1",
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes that run the server as one.")
        ] = None,
        cluster: Annotated[
            str | None,
            typer.Option(help="URL of what joins them: nats: or redis:. Default: Unix sockets."),
        ] = None,
        kill_after: Annotated[
            float | None,
            typer.Option(min=0.1, help="Kill one worker after so many seconds (SIGKILL)."),
        ] = None,
        show: Annotated[bool, typer.Option("--open", help="Open the page at once.")] = False,
    ) -> None:
        """Play a game on this machine, and look for lost messages.

        A server with rooms, and players in processes of their own. Each move goes to everybody
        in its room. Ends after --seconds or on Ctrl-C, with a summary. The exit status is 1 when
        a message was lost. With --web, a page shows the players, and visitors walk among them.

        With --workers, the server is several processes. With --kill-after, one of them is killed:
        what that cuts off is counted apart, and the players come back.
        """
        length = seconds or (math.inf if web else 10.0)
        _check(workers, cluster, kill_after, length, web)
        if workers is not None and cluster is None:
            cluster = os.environ.get("HISOCK_CLUSTER")
        crowd = players or (24 if web else 200)
        raise typer.Exit(
            play(
                plain=plain,
                show=show,
                players=crowd,
                rooms_of=rooms_of or (crowd if web else 20),
                rate=rate,
                seconds=length,
                processes=min(processes, crowd),
                port=port,
                host=host,
                web=web,
                web_port=web_port,
                workers=workers,
                cluster=cluster,
                kill_after=kill_after,
            )
        )


def _check(
    workers: int | None,
    cluster: str | None,
    kill_after: float | None,
    seconds: float,
    web: bool,
) -> None:
    """Refuse options that do not fit together."""
    if workers is None:
        for name, value in (("--cluster", cluster), ("--kill-after", kill_after)):
            if value is not None:
                raise typer.BadParameter(f"{name} is about workers; add --workers 2")
        return
    if sys.platform == "win32":  # pragma: no cover - measured on Linux
        raise typer.BadParameter("--workers needs Unix sockets, which Python has not on Windows")
    if web:
        raise typer.BadParameter("--web runs one process; leave out --workers")
    if kill_after is not None and workers < 2:
        raise typer.BadParameter("--kill-after needs a worker that is left; give --workers 2")
    if kill_after is not None and kill_after >= seconds:
        raise typer.BadParameter(f"--kill-after is less than the {seconds:g} seconds of the game")
    if cluster is not None:
        try:
            Cluster(cluster)
        except ValueError as exc:
            raise typer.BadParameter(str(exc)) from None


def play(
    plain: bool = False,
    server_module: str = "hisock._cli.demo.server",
    show: bool = False,
    **settings: Any,
) -> int:
    """Run the demo and show it.

    :param plain: lines even on a terminal.
    :param server_module: the game server to run.
    :param show: open the page of ``web=True`` in the user's browser.
    :param settings: those of :class:`hisock._cli.demo.director.Settings`.
    :returns: the exit status: 0, or 1 when something was lost or failed.
    """
    if settings.get("web") and not any(map(find_spec, ("picows", "websockets"))):
        print("--web needs: pip install 'hisock[websocket]'", file=sys.stderr)
        return UNUSABLE
    console = Console()
    screen = Lines(console) if plain or not console.is_terminal else LiveTable(console)
    interrupted = threading.Event()

    def interrupt(signum: int, frame: object) -> None:
        # The first time ends the game in order, the second time at once.
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the last one is Ctrl-Break on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    try:
        with screen:
            visit = webbrowser.open if show else None
            result = run(Settings(**settings), screen, interrupted, server_module, visit)
    except DemoError as exc:
        print(f"The demo failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(summary(result))
    if not result.settings.web:
        print("To see it in a browser, and play along: hisock demo --web")
    return 0 if result.ok else 1
