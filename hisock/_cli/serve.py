"""``hisock serve module:server``: runs the server of a program."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from hisock._core.reporting import one_line
from hisock._runtime.sockets import address_text
from hisock.server import HiSockServer

EXAMPLE = "hisock serve game:server"


class Unusable(Exception):
    """What was asked for cannot be served; the message says why and what to do."""


def load(target: str) -> HiSockServer:
    """The server that ``module:name`` stands for; the name may be that of a function making it.

    :raises Unusable: there is none.
    """
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
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
        found = found()
    if not isinstance(found, HiSockServer):
        kind = type(found).__name__
        raise Unusable(f"{target} is {kind}, not a HiSockServer or a function that returns one")
    return found


def parse_address(text: str) -> tuple[str, int] | str:
    """An address as typed: ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, or a path with a slash.

    :raises Unusable: it is none.
    """
    if "/" in text:
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise Unusable(f"{text!r} is no address: give HOST:PORT, :PORT or the path of a socket")
    return host.removeprefix("[").removesuffix("]"), int(port)


def serve(target: str, bind: str | None) -> int:
    """Run a server until Ctrl-C or SIGTERM; returns the exit status."""
    try:
        server = load(target)
        address = None if bind is None else parse_address(bind)
        if server.addr is None and address is None:
            raise Unusable(f"{target} has no address; give one: {EXAMPLE} --bind :5000")
        if server.addr is not None and address is not None:
            raise Unusable(
                f"{target} listens at {address_text(server.addr)} already; "
                "make it with HiSockServer(None), or leave out --bind"
            )
        if address is not None:
            server._listen(address)
    except (Unusable, OSError) as exc:
        print(f"hisock serve: {one_line(exc)}", file=sys.stderr)
        return 2
    for addr in server.addrs:
        print(f"Serving {target} at {address_text(addr)}; Ctrl-C ends it", flush=True)
    try:
        server.start()
    except KeyboardInterrupt:
        return 130
    return 0
