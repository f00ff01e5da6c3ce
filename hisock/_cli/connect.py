"""``hisock connect HOST:PORT``: a client at a prompt, or driven by the lines of a script."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from hisock import AsyncHiSockClient, async_connect
from hisock._cli.messages import Messages
from hisock._cli.options import (
    AuthoritiesOption,
    GroupOption,
    HeaderLenOption,
    JSONOption,
    NameOption,
    TLSOption,
    TokenOption,
    tls_of,
)
from hisock._cli.shell import Shell
from hisock._cli.trace import Proxy, Upstream
from hisock._cli.usage import FAILED, Failed, finish, parse_address, parse_target
from hisock._core.reporting import one_line
from hisock._runtime.sockets import address_text
from hisock.framing import DEFAULT_HEADER_LEN

#: Reads the next line; ``None`` at the end of the input.
ReadLine = Callable[[], Awaitable["str | None"]]


class TalkSettings(NamedTuple):
    """What was asked for on the command line."""

    name: str | None
    group: str | None
    token: str | None
    codec: str
    timeout: float
    wait: float
    as_json: bool
    raw: bool
    history: Path | None


def add_to(app: typer.Typer) -> None:
    @app.command("connect", rich_help_panel="Talk and look")
    def run(
        target: Annotated[str, typer.Argument(metavar="HOST:PORT")],
        name: NameOption = None,
        group: GroupOption = None,
        token: TokenOption = None,
        tls: TLSOption = False,
        ca: AuthoritiesOption = None,
        raw: Annotated[bool, typer.Option("--raw", help="Show all frames as well.")] = False,
        as_json: JSONOption = False,
        codec: Annotated[Literal["json", "msgpack"], typer.Option()] = "json",
        timeout: Annotated[float, typer.Option(min=0, help="Seconds for a reply.")] = 5.0,
        wait: Annotated[
            float, typer.Option(min=0, help="Seconds to listen after the last line of a script.")
        ] = 0.5,
        history: Annotated[
            Path | None, typer.Option(help="Keeps what was typed.", dir_okay=False)
        ] = Path("~/.hisock_history"),
        header_len: HeaderLenOption = DEFAULT_HEADER_LEN,
    ) -> None:
        """Talk to a server: send commands, call, and see what comes.

        At the prompt, `move {"x": 3}` sends a command with a message, `/call price lamp` waits
        for a reply, and `/help` lists the rest. Without a terminal the same lines are read from
        standard input; the exit status is 1 when one of them failed.
        """
        settings = TalkSettings(name, group, token, codec, timeout, wait, as_json, raw, history)

        def work() -> int:
            upstream = Upstream(parse_target(target), tls_of(tls, ca), header_len, False)
            return asyncio.run(_talk(upstream, settings))

        finish("connect", work)


async def _talk(upstream: Upstream, settings: TalkSettings) -> int:
    messages = Messages(settings.as_json, settings.codec)
    async with contextlib.AsyncExitStack() as stack:
        client = await _connect(upstream, settings, messages, stack)
        shell = Shell(client, messages, settings.timeout)
        where = address_text(upstream.address)
        messages.event("connected", f"to {where}; /help says what to type", address=where)
        showing = asyncio.ensure_future(shell.show_messages())
        try:
            if settings.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
                return await _run_script(client, shell, messages, settings.wait)
            from hisock._cli.prompt import Prompt

            prompt = Prompt(shell, settings.name, settings.history)
            with prompt.patched():
                return await _run_lines(client, shell, messages, prompt.read, ends=False)
        finally:
            await client.close()
            showing.cancel()


async def _connect(
    upstream: Upstream,
    settings: TalkSettings,
    messages: Messages,
    stack: contextlib.AsyncExitStack,
) -> AsyncHiSockClient:
    address, tls, host = upstream.address, upstream.tls, upstream.host
    if settings.raw:
        # The frames are those that a proxy in this process sees.
        proxy = Proxy(upstream, messages.frame, lambda text: None)
        address = parse_address((await proxy.start(("127.0.0.1", 0)))[0])
        stack.push_async_callback(proxy.close)
        tls = host = None
    return await async_connect(
        address,
        settings.name,
        settings.group,
        upstream.header_len,
        codec=settings.codec,
        token=settings.token,
        ssl=tls,
        server_hostname=host,
    )


async def _run_script(
    client: AsyncHiSockClient, shell: Shell, messages: Messages, wait: float
) -> int:
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    if isinstance(sys.stdin, io.TextIOWrapper):
        # A line that is not UTF-8 fails, and not the reading of all that follow it.
        sys.stdin.reconfigure(errors="surrogateescape")

    def read_all() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads it any more
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    # A daemon: it may be blocked in a read when the connection ends.
    threading.Thread(target=read_all, daemon=True).start()
    status = await _run_lines(client, shell, messages, lines.get, ends=True)
    if wait and not shell.leaving and not client.closed:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(client.wait_closed(), wait)
    return status


async def _run_lines(
    client: AsyncHiSockClient, shell: Shell, messages: Messages, read: ReadLine, ends: bool
) -> int:
    """Do line after line, until there are no more or the connection ends.

    :param ends: whether a line that fails makes the exit status.
    """
    status = 0
    closed = asyncio.ensure_future(client.wait_closed())
    try:
        async for line in _lines(read, closed):
            if not await shell.run(line) and ends:
                status = FAILED
            if shell.leaving:
                return status
            if client.closed:
                break
        if closed.done() or client.closed:
            raise Failed(f"the connection has ended: {one_line(client._driver.ended_by)}")
        return status
    finally:
        closed.cancel()


async def _lines(read: ReadLine, closed: asyncio.Future[None]) -> AsyncIterator[str]:
    """The lines, until there are no more or the connection ends."""
    while not closed.done():
        reading = asyncio.ensure_future(read())
        both: set[asyncio.Future[Any]] = {reading, closed}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            return
        line = reading.result()
        if line is None:
            return
        yield line
