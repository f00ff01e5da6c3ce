"""``hisock conformance HOST:PORT``: check a client written in another language."""

from __future__ import annotations

from typing import Annotated

import typer

from hisock._cli.conformance.cases import cases
from hisock._cli.conformance.kit import run
from hisock._cli.conformance.lines import Failure
from hisock._cli.usage import FAILED, Failed, Unusable, finish, listen_at, parse_address
from hisock._runtime.sockets import address_text


def add_to(app: typer.Typer) -> None:
    @app.command(rich_help_panel="Try and measure")
    def conformance(
        address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where to listen.")],
        websocket: Annotated[
            bool, typer.Option("--websocket", help="Take WebSockets, not plain TCP.")
        ] = False,
        only: Annotated[str, typer.Option(help="Cases whose name holds this text.")] = "",
        timeout: Annotated[
            float, typer.Option(min=0.1, help="Seconds for a connection, or an answer.")
        ] = 10.0,
    ) -> None:
        """Check a client that you wrote: listen as a server, and see what it does.

        The client connects again and again, sends commands back as they come, and answers calls.
        The documentation has a page that says all of it. The exit status is 0 when all cases
        passed, or were skipped because the client's hello does not claim the feature.
        """
        finish("conformance", lambda: check(address, websocket, only, timeout))


def check(address: str, websocket: bool = False, only: str = "", timeout: float = 10.0) -> int:
    """Run the kit; the exit status.

    :raises Unusable: there is no such address, or no such case.
    :raises OSError: the address is in use, or is not one of this machine.
    :raises Failed: no client came.
    """
    place = parse_address(address)
    if isinstance(place, str):
        raise Unusable("the kit listens on HOST:PORT")
    wanted = [case for case in cases() if only in case.name]
    if not wanted:
        raise Unusable(f"no case has {only!r} in its name")
    (listening,) = listen_at(place)
    with listening.sock as listener:
        where = address_text(listening.addr[:2])
        print(f"{len(wanted)} cases; waiting for the client on {where}", flush=True)
        try:
            score = run(listener, wanted, websocket, timeout)
        except Failure as exc:
            raise Failed(str(exc)) from None
    print(f"{score.passed} passed, {len(score.failed)} failed, {score.skipped} skipped")
    return FAILED if score.failed else 0
