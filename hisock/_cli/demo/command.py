"""``hisock demo``: a game on this machine."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated, Any

import typer
from rich.console import Console

from hisock._cli.demo.control import DemoError
from hisock._cli.demo.director import Settings, run
from hisock._cli.demo.screen import Lines, LiveTable, summary


def add_to(app: typer.Typer) -> None:
    @app.command(rich_help_panel="Try and measure")
    def demo(
        players: Annotated[int, typer.Option(min=1, help="Simulated players.")] = 200,
        rooms_of: Annotated[int, typer.Option(min=1, help="Players to a room.")] = 20,
        rate: Annotated[float, typer.Option(min=0.1, help="Moves a second of each.")] = 20.0,
        seconds: Annotated[float, typer.Option(min=0.1, help="How long they play.")] = 10.0,
        processes: Annotated[int, typer.Option(min=1, help="Processes of players.")] = 2,
        port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
        plain: Annotated[bool, typer.Option("--plain", help="Lines, not a live table.")] = False,
    ) -> None:
        """Play a game on this machine, and look for lost messages.

        A server with rooms, and players in processes of their own. Each move goes to everybody
        in its room. Ends after --seconds or on Ctrl-C, with a summary. The exit status is 1 when
        a message was lost.
        """
        raise typer.Exit(
            play(
                plain=plain,
                players=players,
                rooms_of=rooms_of,
                rate=rate,
                seconds=seconds,
                processes=min(processes, players),
                port=port,
            )
        )


def play(
    plain: bool = False, server_module: str = "hisock._cli.demo.server", **settings: Any
) -> int:
    """Run the demo and show it.

    :param plain: lines even on a terminal.
    :param server_module: the game server to run.
    :param settings: those of :class:`hisock._cli.demo.director.Settings`.
    :returns: the exit status: 0, or 1 when something was lost or failed.
    """
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
            result = run(Settings(**settings), screen, interrupted, server_module)
    except DemoError as exc:
        print(f"The demo failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(summary(result))
    return 0 if result.ok else 1
