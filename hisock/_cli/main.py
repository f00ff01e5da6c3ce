"""The ``hisock`` command: ``hisock info``, ``hisock serve`` and ``hisock demo``.

``info`` needs nothing but hisock. The others and the help texts need the extra ``hisock[cli]``
(typer and rich); without it the command says so.
"""

import platform
import signal
import sys
import sysconfig
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from hisock import __version__
from hisock._runtime.loops import loop_name
from hisock.framing import IMPLEMENTATION

if TYPE_CHECKING:
    import typer

_NEEDED = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: what follows the command's name; by default that of this process.
    :returns: the exit status, where typer does not exit by itself.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if all(find_spec(name) for name in _NEEDED):
        _build_app()(args=words, prog_name="hisock")
        return 0
    return _main_without_extra(words)


def _main_without_extra(words: list[str]) -> int:
    if words == ["info"]:
        print_info()
        return 0
    print(
        "Without typer and rich there is only: hisock info\n"
        "Everything else comes with: pip install 'hisock[cli]'",
        file=sys.stderr,
    )
    return 2


def print_info() -> None:
    for name, value in facts().items():
        print(f"{name:<11} {value}")


def facts() -> dict[str, str]:
    """What runs here: versions, framing core, event loop."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        python += ", free-threaded"
    return {
        "hisock": __version__,
        "framing": IMPLEMENTATION,
        "event loop": _event_loop(),
        "msgspec": _version_of("msgspec"),
        "Python": python,
        "platform": platform.platform(),
    }


def _event_loop() -> str:
    """The loop that a server takes when it is not told which."""
    name = loop_name()
    return name if name == "asyncio" else f"{name} {_version_of(name)}"


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"


def _build_app() -> "typer.Typer":
    import typer

    app = typer.Typer(
        help="Fast, small, two-way messages over TCP.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.command()
    def info() -> None:
        """Say which version, framing core, event loop and Python run here."""
        print_info()

    @app.command()
    def serve(
        target: Annotated[str, typer.Argument(metavar="MODULE:SERVER")],
        bind: Annotated[
            str | None, typer.Option(help="HOST:PORT, :PORT, or the path of a Unix socket.")
        ] = None,
    ) -> None:
        """Run the server of a program: `hisock serve game:server --bind :5000`.

        SERVER is a HiSockServer in the module, or a function that returns one. --bind is for
        servers made with HiSockServer(None). Ctrl-C and SIGTERM close it in order.
        """
        from hisock._cli.serve import serve as run_server

        raise typer.Exit(run_server(target, bind))

    @app.command()
    def demo(
        players: Annotated[int, typer.Option(min=1, help="Simulated players.")] = 200,
        rooms_of: Annotated[int, typer.Option(min=1, help="Players to a room.")] = 20,
        rate: Annotated[float, typer.Option(min=0.1, help="Moves a second of each.")] = 20.0,
        seconds: Annotated[float, typer.Option(min=0.1, help="How long they play.")] = 10.0,
        processes: Annotated[int, typer.Option(min=1, help="Processes of players.")] = 2,
        port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
        plain: Annotated[bool, typer.Option("--plain", help="Lines, not a live table.")] = False,
    ) -> None:
        """Play a game on this machine: a server with rooms, players in processes of their own.

        Each move goes to everybody in its room. Ends after --seconds or on Ctrl-C, with a
        summary. The exit status is 1 when a message was lost.
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

    return app


def play(
    plain: bool = False, server_module: str = "hisock._cli.demo.server", **settings: Any
) -> int:
    """Run the demo and show it.

    :param plain: lines even on a terminal.
    :param server_module: the game server to run.
    :param settings: those of :class:`hisock._cli.demo.director.Settings`.
    :returns: the exit status: 0, or 1 when something was lost or failed.
    """
    from rich.console import Console

    from hisock._cli.demo.control import DemoError
    from hisock._cli.demo.director import Settings, run
    from hisock._cli.demo.screen import Lines, LiveTable, summary

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
