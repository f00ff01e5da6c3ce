"""``hisock serve module:server``: runs the server of a program."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hisock._cli.reload import end_with_reloader, serve_reloading
from hisock._cli.usage import FAILED, INTERRUPTED, UNUSABLE, Unusable, parse_address
from hisock._core.reporting import one_line
from hisock._core.signature import require_arguments
from hisock._runtime import heap
from hisock._runtime.sockets import address_text
from hisock.exceptions import NotSupported, ServerException
from hisock.server import HiSockServer

EXAMPLE = "hisock serve game:server"


def add_to(app: typer.Typer) -> None:
    @app.command("serve", rich_help_panel="Servers")
    def run(
        target: Annotated[str, typer.Argument(metavar="MODULE:SERVER")],
        bind: Annotated[
            str | None, typer.Option(help="HOST:PORT, :PORT, or the path of a Unix socket.")
        ] = None,
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes that serve the same address.")
        ] = None,
        cluster: Annotated[
            str | None,
            typer.Option(envvar="HISOCK_CLUSTER", help="The cluster that it is a part of: a URL."),
        ] = None,
        reload: Annotated[
            bool, typer.Option("--reload", help="Start again when a Python file changes.")
        ] = False,
        reload_dir: Annotated[
            list[Path] | None,
            typer.Option(exists=True, file_okay=False, help="What to watch; by default here."),
        ] = None,
    ) -> None:
        """Run the server of a program.

        For example: `hisock serve game:server --bind :5000`. SERVER is a HiSockServer in the
        module, or a function that returns one. --bind is for servers made with
        HiSockServer(None), and --workers needs one of these. Ctrl-C and SIGTERM close it in
        order; SIGHUP replaces the workers one by one.
        """
        if reload and (workers is not None or cluster is not None):
            raise typer.BadParameter("--reload runs one process; leave out --workers and --cluster")
        if reload:
            raise typer.Exit(serve_reloading(target, bind, reload_dir or [Path.cwd()]))
        end_with_reloader()
        raise typer.Exit(serve(target, bind, workers, cluster))


def load(target: str) -> HiSockServer:
    """The server that ``module:name`` stands for; the name may be that of a function making it.

    :raises Unusable: there is none.
    """
    module_name, colon, name = target.partition(":")
    if not colon or not name or not module_name or module_name.startswith("."):
        raise Unusable(f"{target!r} is not of the form module:server, as in: {EXAMPLE}")
    # A program's own modules lie where it is started, as with ``python -m``.
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (module_name + ".").startswith(exc.name + "."):
            raise
        raise Unusable(f"there is no module {exc.name!r} in {os.getcwd()} or on the path") from None
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise Unusable(f"the module {module_name!r} has no {name!r}")
    if callable(found):
        found = _made_by(found, target)
    if not isinstance(found, HiSockServer):
        kind = type(found).__name__
        raise Unusable(f"{target} is {kind}, not a HiSockServer or a function that returns one")
    return found


def _made_by(function: Callable[..., Any], target: str) -> Any:
    with contextlib.suppress(ValueError):  # some built-ins tell nothing about themselves
        try:
            require_arguments(function)
        except TypeError as exc:
            raise Unusable(f"{target} is called without arguments here: {exc}") from None
    return function()


def serve(
    target: str, bind: str | None, workers: int | None = None, cluster: str | None = None
) -> int:
    """Run a server until Ctrl-C or SIGTERM; returns the exit status.

    :param workers: how many processes; ``None`` leaves that to the server.
    :param cluster: the URL of its cluster; likewise.
    """
    try:
        server = load(target)
    except (Unusable, OSError) as exc:
        return _refuse(exc)
    except Exception as exc:
        return _show(exc)
    try:
        _prepare(server, target, bind, workers, cluster)
    except (Unusable, OSError, RuntimeError) as exc:
        return _refuse(exc)
    if server._life.workers is None:
        for addr in server.addrs:
            print(f"Serving {target} at {address_text(addr)}; Ctrl-C ends it", flush=True)
    heap.freeze()
    try:
        server.start()
    except ServerException as exc:
        return _refuse(exc)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _prepare(
    server: HiSockServer, target: str, bind: str | None, workers: int | None, cluster: str | None
) -> None:
    """Apply what the command line says to a server that the program has made.

    :raises Unusable: the program and the command line contradict each other.
    """
    address = None if bind is None else parse_address(bind)
    if server.addr is None and address is None:
        raise Unusable(f"{target} has no address; give one: {EXAMPLE} --bind :5000")
    if server.addr is not None and address is not None:
        raise Unusable(
            f"{target} listens at {address_text(server.addr)} already; "
            "make it with HiSockServer(None), or leave out --bind"
        )
    if cluster is not None:
        if server._hub.broadcast.backplane is not None:
            raise Unusable(f"{target} is in a cluster already; leave out --cluster")
        _join(server, cluster)
    if workers is not None:
        server._use_workers(workers)
    if address is not None:
        _listen(server, address)


def _listen(server: HiSockServer, address: tuple[str, int] | str) -> None:
    try:
        server._listen(address)
    except TypeError as exc:  # it is the address of nothing here
        raise Unusable(one_line(exc)) from None


def _join(server: HiSockServer, cluster: str) -> None:
    try:
        server._join_cluster(cluster)
    except (ValueError, ImportError, NotSupported) as exc:
        raise Unusable(one_line(exc)) from None


def _refuse(exc: Exception) -> int:
    print(f"hisock serve: {one_line(exc)}", file=sys.stderr)
    return UNUSABLE


def _show(exc: Exception) -> int:
    """Print the traceback of an error in the program, without the calls that led there."""
    shown = traceback.TracebackException.from_exception(exc)
    own = [line for line in shown.stack if not _is_machinery(line.filename)]
    shown.stack = traceback.StackSummary.from_list(own)
    print("".join(shown.format()), end="", file=sys.stderr, flush=True)
    return FAILED


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename == importlib.__file__ or filename.startswith("<frozen ")
