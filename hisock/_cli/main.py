"""The ``hisock`` command: one module a command, named in :data:`COMMANDS`.

``info`` needs nothing but hisock. The others and the help texts need the extra ``hisock[cli]``;
without it the command says so. Of the commands only the one that is run is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import typer

_NEEDED = ("typer", "rich", "prompt_toolkit")


class Command(NamedTuple):
    """What the list of commands shows of one.

    :ivar module: in this package; it has an ``add_to(app)``.
    :ivar panel: the part of the list that it is in.
    :ivar text: the first paragraph of its help.
    """

    module: str
    panel: str
    text: str


#: The commands, in the order of the help text.
COMMANDS = {
    "serve": Command("serve", "Servers", "Run the server of a program."),
    "top": Command("top.command", "Servers", "Watch a server: clients, rates, handlers, ticks."),
    "connect": Command(
        "connect", "Talk and look", "Talk to a server: send commands, call, and see what comes."
    ),
    "publish": Command("publish", "Clients", "Send a command to the clients of a cluster."),
    "trace": Command("trace", "Talk and look", "Print the frames between clients and a server."),
    "bench": Command(
        "bench.command",
        "Try and measure",
        "Put load on a server, and measure how long answers take.",
    ),
    "demo": Command(
        "demo.command",
        "Try and measure",
        "Play a game on this machine, and look for lost messages.",
    ),
    "conformance": Command(
        "conformance.command",
        "Try and measure",
        "Check a client that you wrote: listen as a server, and see what it does.",
    ),
    "info": Command(
        "info", "This installation", "Show the version, framing core, event loop and Python."
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: what follows the command's name; by default that of this process.
    :returns: the exit status, where typer does not exit by itself.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["info"]:
        import_module("hisock._cli.info").print_info()
        return 0
    if all(find_spec(name) for name in _NEEDED):
        _build_app(words)(args=words, prog_name="hisock")
        return 0
    print(
        "Without typer, rich and prompt_toolkit there is only: hisock info\n"
        "Everything else comes with: pip install 'hisock[cli]'",
        file=sys.stderr,
    )
    return 2


def _build_app(words: list[str]) -> typer.Typer:
    import typer

    from hisock import __version__

    app = typer.Typer(
        help="Fast, small, two-way messages over TCP: run servers, talk to them, watch them.",
        epilog="hisock COMMAND --help says more. Exit status: 0 done, 1 failed, 2 cannot be done "
        "as asked, 130 ended by Ctrl-C.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"hisock {__version__}")
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=show_version, help="Show the version."
        ),
    ) -> None:
        pass

    # The options before a command take no values, so that it is the first word that is none.
    named = next((word for word in words if not word.startswith("-")), "")
    if named in COMMANDS:
        import_module(f"hisock._cli.{COMMANDS[named].module}").add_to(app)
    else:
        _list_commands(app)
    return app


def _list_commands(app: typer.Typer) -> None:
    """Add the commands for a list of them: each with its text, and without what it does."""
    for name, command in COMMANDS.items():
        app.command(name, help=command.text, rich_help_panel=command.panel)(lambda: None)
