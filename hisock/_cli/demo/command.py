"""``hisock demo``: a game on this machine."""

from __future__ import annotations

import math
import signal
import sys
import threading
import webbrowser
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from rich.console import Console

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
        show: Annotated[bool, typer.Option("--open", help="Open the page at once.")] = False,
    ) -> None:
        """Play a game on this machine, and look for lost messages.

        A server with rooms, and players in processes of their own. Each move goes to everybody
        in its room. Ends after --seconds or on Ctrl-C, with a summary. The exit status is 1 when
        a message was lost. With --web, a page shows the players, and visitors walk among them.
        """
        crowd = players or (24 if web else 200)
        raise typer.Exit(
            play(
                plain=plain,
                show=show,
                players=crowd,
                rooms_of=rooms_of or (crowd if web else 20),
                rate=rate,
                seconds=seconds or (math.inf if web else 10.0),
                processes=min(processes, crowd),
                port=port,
                host=host,
                web=web,
                web_port=web_port,
            )
        )


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
