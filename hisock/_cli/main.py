"""The ``hisock`` command: one module a command, named in :data:`COMMANDS`.

``info`` needs nothing but hisock. The others and the help texts need the extra ``hisock[cli]``;
without it the command says so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hisock._cli.info import print_info

if TYPE_CHECKING:
    import typer

_NEEDED = ("typer", "rich", "prompt_toolkit")
#: The modules of the commands, in the order of the help text. Each has an ``add_to(app)``.
COMMANDS = (
    "serve",
    "top.command",
    "connect",
    "publish",
    "trace",
    "bench.command",
    "demo.command",
    "conformance.command",
    "info",
)


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
        "Without typer, rich and prompt_toolkit there is only: hisock info\n"
        "Everything else comes with: pip install 'hisock[cli]'",
        file=sys.stderr,
    )
    return 2


def _build_app() -> typer.Typer:
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

    for name in COMMANDS:
        import_module(f"hisock._cli.{name}").add_to(app)
    return app
