"""``hisock top HOST:PORT``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from hisock._cli.options import AuthoritiesOption, HeaderLenOption, JSONOption, TLSOption, tls_of
from hisock._cli.top.administrator import Administrator
from hisock._cli.top.figures import as_json, page, take_sample
from hisock._cli.usage import Failed, Unusable, finish, parse_target
from hisock._core.reporting import one_line
from hisock.exceptions import HiSockError
from hisock.framing import DEFAULT_HEADER_LEN


def add_to(app: typer.Typer) -> None:
    @app.command("top", rich_help_panel="Servers")
    def top(
        target: Annotated[str, typer.Argument(metavar="HOST:PORT")],
        admin_token: Annotated[
            str | None, typer.Option(envvar="HISOCK_ADMIN_TOKEN", help="That of the server.")
        ] = None,
        interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
        clients: Annotated[int, typer.Option(min=0, max=1000, help="Clients to show.")] = 15,
        once: Annotated[bool, typer.Option("--once", help="Show one page and end.")] = False,
        kick: Annotated[
            str | None, typer.Option(metavar="CLIENT", help="Disconnect a client and end.")
        ] = None,
        as_objects: JSONOption = False,
        tls: TLSOption = False,
        ca: AuthoritiesOption = None,
        header_len: HeaderLenOption = DEFAULT_HEADER_LEN,
    ) -> None:
        """Watch a server: clients, rates, handlers, ticks.

        The server has to be made with `admin_token=`. Handlers are timed while somebody watches.
        Without TLS the token can be read on the way: use it on this machine, or with `--tls`.
        """

        async def run() -> None:
            if not admin_token:
                raise Unusable("the token is missing: --admin-token, or HISOCK_ADMIN_TOKEN")
            address, context = parse_target(target), tls_of(tls, ca)
            administrator = await Administrator.connect(address, context, admin_token, header_len)
            try:
                if kick is not None:
                    _tell(await administrator.kick(kick), as_objects)
                elif once or as_objects or not sys.stdout.isatty():
                    await _print(administrator, target, interval, clients, once, as_objects)
                else:
                    from hisock._cli.top.screen import TopScreen

                    await TopScreen(administrator, target, interval, clients).run()
            except HiSockError:
                raise
            except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as exc:
                text = "the server's answer is not one that this version understands"
                raise Failed(f"{text}: {exc!r}") from exc
            finally:
                await administrator.close()

        finish("top", lambda: asyncio.run(run()))


def _tell(kicked: dict[str, object], as_object: bool) -> None:
    if as_object:
        print(json.dumps({"kicked": kicked}))
    else:
        print(one_line(f"Disconnected {kicked['name'] or 'a client'} at {kicked['addr']}"))


async def _print(
    administrator: Administrator,
    where: str,
    interval: float,
    clients: int,
    once: bool,
    as_objects: bool,
) -> None:
    """Print page after page, or object after object."""
    console = Console()
    before = await take_sample(administrator, clients)
    while True:
        await asyncio.sleep(interval)
        now = await take_sample(administrator, clients)
        if as_objects:
            print(json.dumps(as_json(before, now)), flush=True)
        else:
            console.print(page(before, now, where), highlight=False)
        if once:
            return
        before = now
