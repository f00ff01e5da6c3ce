"""``hisock trace LISTEN TARGET``: a proxy that prints the frames of each connection."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import ssl
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from hisock._cli.frames import ARROWS, ShownFrame, Way, describe
from hisock._cli.options import AuthoritiesOption, HeaderLenOption, TLSOption, tls_of
from hisock._cli.usage import finish, listen_at, parse_address, parse_target
from hisock._core.reporting import one_line
from hisock._runtime.sockets import RemoteAddress, address_text, host_of
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, Decoder, FramingError

T = TypeVar("T")
#: Bytes that are read at once.
_CHUNK = 65536


def add_to(app: typer.Typer) -> None:
    @app.command("trace", rich_help_panel="Talk and look")
    def run(
        listen_at: Annotated[str, typer.Argument(metavar="LISTEN", help="HOST:PORT or :PORT.")],
        target: Annotated[str, typer.Argument(metavar="TARGET", help="The server.")],
        cut: Annotated[int, typer.Option(min=0, help="Characters of a message to show.")] = 80,
        as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
        show_secrets: Annotated[
            bool, typer.Option("--show-secrets", help="Show the tokens in hellos.")
        ] = False,
        tls: TLSOption = False,
        ca: AuthoritiesOption = None,
        header_len: HeaderLenOption = DEFAULT_HEADER_LEN,
    ) -> None:
        """Print the frames between clients and a server.

        For example: `hisock trace :6000 game.example:5000`. Clients connect to LISTEN instead
        of the server. With --tls they do so without TLS, and only the way to the server is
        encrypted.
        """

        def show(frame: ShownFrame) -> None:
            print(frame.as_json(cut) if as_json else frame.line(cut), flush=True)

        def say(text: str) -> None:
            if not as_json:
                print(text, flush=True)

        def work() -> None:
            upstream = Upstream(parse_target(target), tls_of(tls, ca), header_len, show_secrets)
            asyncio.run(_serve(parse_address(listen_at), upstream, show, say))

        finish("trace", work)


class Upstream:
    """The server behind a proxy, and how its frames are read.

    :param show_secrets: do not hide the tokens in hellos.
    """

    def __init__(
        self,
        address: RemoteAddress,
        tls: ssl.SSLContext | None,
        header_len: int,
        show_secrets: bool,
    ) -> None:
        self.address = address
        self.header_len = header_len
        self.show_secrets = show_secrets
        self.tls = tls

    @property
    def host(self) -> str | None:
        """The name that its certificate has to have; ``None`` without TLS."""
        return host_of(self.address) if self.tls else None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it.

        :raises OSError: there is none.
        """
        if isinstance(self.address, tuple):
            return await asyncio.open_connection(
                *self.address, ssl=self.tls, server_hostname=self.host
            )
        return await asyncio.open_unix_connection(str(self.address), ssl=self.tls)


class Proxy:
    """Takes connections, and hands each one's bytes on to the server and back.

    :param show: gets every frame.
    :param say: gets a line about each connection.
    """

    def __init__(
        self,
        upstream: Upstream,
        show: Callable[[ShownFrame], None],
        say: Callable[[str], None],
    ) -> None:
        self._upstream = upstream
        self._show = show
        self._say = say
        self._numbers = itertools.count(1)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, address: tuple[str, int] | str) -> list[str]:
        """Listen; returns where.

        :raises OSError: the address is in use, or is not one of this machine.
        :raises Unusable: it is none that one can listen at.
        """
        found = []
        for each in listen_at(address):
            start = asyncio.start_server if isinstance(each.addr, tuple) else _start_unix
            self._servers.append(await start(self._connected, sock=each.sock))
            found.append(address_text(each.addr[:2] if isinstance(each.addr, tuple) else each.addr))
        return found

    async def close(self) -> None:
        """End all connections."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(next(self._numbers), reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = writer.get_extra_info("peername")
        who = address_text(peer[:2]) if isinstance(peer, tuple) else "a Unix socket"
        self._say(f"#{number} connected from {who}")
        try:
            far_reader, far_writer = await self._upstream.open()
        except (OSError, ssl.SSLError) as exc:
            where = address_text(self._upstream.address)
            self._say(f"#{number} closed: no connection to {where}: {one_line(exc)}")
            writer.close()
            return
        try:
            await asyncio.gather(
                self._copy(reader, far_writer, number, "to server"),
                self._copy(far_reader, writer, number, "to client"),
            )
        finally:
            writer.close()
            far_writer.close()
            self._say(f"#{number} ended")

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, way: Way
    ) -> None:
        """Hand on the bytes of one direction until its end."""
        view = _View(self._upstream, number, way, self._show, self._say)
        with contextlib.suppress(OSError):  # of whatever kind: time-outs and TLS have their own
            while data := await reader.read(_CHUNK):
                view.passed(data)
                writer.write(data)
                await writer.drain()
            view.ended()
            if writer.can_write_eof():
                writer.write_eof()
            return
        writer.transport.abort()


class _View:
    """The frames of one direction, as far as they are frames."""

    def __init__(
        self,
        upstream: Upstream,
        number: int,
        way: Way,
        show: Callable[[ShownFrame], None],
        say: Callable[[str], None],
    ) -> None:
        self._upstream = upstream
        self._number = number
        self._way: Way = way
        self._show = show
        self._say = say
        self._decoder: Decoder | None = Decoder(upstream.header_len, DEFAULT_MAX_FRAME_SIZE)

    def passed(self, data: bytes) -> None:
        """Bytes have gone this way."""
        decoder = self._decoder
        if decoder is None:
            return
        try:
            frames = decoder.feed(data)
        except FramingError as exc:
            self._give_up(exc)
            return
        for frame in frames:
            secrets = self._upstream.show_secrets
            self._show(describe(frame, self._number, self._way, secrets))
        if decoder.error is not None:
            self._give_up(decoder.error)

    def _give_up(self, exc: FramingError) -> None:
        """What comes is handed on, but it cannot be read any more."""
        self._decoder = None
        self._say(f"#{self._number} {ARROWS[self._way]} not frames from here on: {one_line(exc)}")

    def ended(self) -> None:
        """This direction has ended."""
        if self._decoder is not None:
            try:
                self._decoder.eof()
            except FramingError as exc:
                self._say(f"#{self._number} {ARROWS[self._way]} {one_line(exc)}")


async def _start_unix(*args: object, **kwargs: object) -> asyncio.Server:
    return await asyncio.start_unix_server(*args, **kwargs)  # type: ignore[arg-type]  # handed on


async def _serve(
    address: tuple[str, int] | str,
    upstream: Upstream,
    show: Callable[[ShownFrame], None],
    say: Callable[[str], None],
) -> None:
    ended = asyncio.Event()
    unread: list[BrokenPipeError] = []

    def telling(tell: Callable[[T], None]) -> Callable[[T], None]:
        def told(what: T) -> None:
            try:
                tell(what)
            except BrokenPipeError as exc:
                # Nobody reads what is printed: the command ends, and is not taken for a connection.
                unread.append(exc)
                ended.set()

        return told

    proxy = Proxy(upstream, telling(show), telling(say))
    where = ", ".join(await proxy.start(address))
    say(f"Tracing {where} --> {address_text(upstream.address)}; Ctrl-C ends it")
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await ended.wait()
    finally:
        await proxy.close()
    if unread:
        raise unread[0]
