"""What all commands have in common: addresses as typed, errors in one line, exit statuses."""

from __future__ import annotations

import io
import logging
import os
import ssl
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from hisock._core.reporting import one_line
from hisock._runtime.sockets import ListeningSocket, listen
from hisock.exceptions import HiSockError

#: Exit statuses: what was asked for failed; it cannot be done as it was asked for; Ctrl-C.
FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130


class Unusable(Exception):
    """What was asked for cannot be done; the message says why and what to do.

    :param more: lines to show below the message.
    """

    def __init__(self, text: str, more: str = "") -> None:
        super().__init__(text)
        self.more = more


class Failed(Exception):
    """It was tried, and failed; the message says how."""


def parse_address(text: str) -> tuple[str, int] | str:
    """An address as typed: ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, or a path with a slash.

    :raises Unusable: it is none.
    """
    if "/" in text:
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise Unusable(f"{text!r} is no address: give HOST:PORT, :PORT or the path of a socket")
    host = host.removeprefix("[").removesuffix("]")
    try:
        host.encode("idna")
    except UnicodeError as exc:
        raise Unusable(f"{host!r} is no name of a host: {one_line(exc)}") from None
    return host, int(port)


def parse_target(text: str) -> tuple[str, int] | str:
    """The address of a server to connect to; ``:PORT`` is on this machine.

    :raises Unusable: it is none.
    """
    address = parse_address(text)
    if isinstance(address, str):
        return address
    if not address[1]:
        raise Unusable(f"{text!r} names no port; a server listens at one from 1 to 65535")
    return address[0] or "127.0.0.1", address[1]


def listen_at(address: tuple[str, int] | str) -> list[ListeningSocket]:
    """Sockets that listen at an address as parsed.

    :raises OSError: the address is in use, or is not one of this machine.
    :raises Unusable: it is none that one can listen at.
    """
    try:
        return listen(address)
    except TypeError as exc:  # it is the address of nothing here
        raise Unusable(one_line(exc)) from None


def finish(command: str, work: Callable[[], int | None]) -> NoReturn:
    """Run a command to its end and exit; what goes wrong is one line and an exit status.

    :raises typer.Exit: always.
    """
    import typer

    raise typer.Exit(status_of(command, work))


def status_of(command: str, work: Callable[[], int | None]) -> int:
    """The exit status of a command; its errors are printed."""
    # What ends a client is said here, in one line, and not a second time by its logger.
    logging.getLogger("hisock.client").setLevel(logging.CRITICAL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal or a file cannot show is shown otherwise: it must end nothing.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return work() or 0
    except Unusable as exc:
        status = _complain(command, exc, UNUSABLE)
        if exc.more:
            print(f"\n{exc.more}\n", file=sys.stderr, flush=True)
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What reads the output has ended, as ``| head`` does: nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ssl.SSLError as exc:
        return _complain(command, f"TLS failed: {one_line(exc)}", FAILED)
    except (Failed, HiSockError, OSError, TimeoutError) as exc:
        return _complain(command, exc, FAILED)


def _complain(command: str, what: Any, status: int) -> int:
    print(f"hisock {command}: {one_line(what, 2000)}", file=sys.stderr, flush=True)
    return status
