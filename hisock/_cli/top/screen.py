"""The page on a terminal, renewed by and by; keys choose a client and kick it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from rich.console import Console

from hisock._cli.top.administrator import Administrator
from hisock._cli.top.figures import Sample, page, take_sample
from hisock._core.reporting import one_line
from hisock.exceptions import HiSockError

_KEYS = "arrows: choose a client   k: kick it   q: quit"


class TopScreen:
    """Shows a server until q is pressed.

    :param where: the server, for the head of the page.
    :param clients: how many clients are shown at most.
    """

    def __init__(
        self, administrator: Administrator, where: str, interval: float, clients: int
    ) -> None:
        self._administrator = administrator
        self._where = where
        self._interval = interval
        self._most = clients
        self._before: Sample | None = None
        self._now: Sample | None = None
        self._selected = 0
        #: The address of the client that is to be kicked, once that is confirmed.
        self._doomed: str | None = None
        self._note = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._app: Application[None] = Application(
            layout=Layout(Window(FormattedTextControl(self._text), always_hide_cursor=True)),
            key_bindings=self._keys(),
            full_screen=True,
        )

    async def run(self) -> None:
        """Show it.

        :raises HiSockError: the connection ended.
        """
        renewing = asyncio.ensure_future(self._renew())
        try:
            await self._app.run_async()
        finally:
            renewing.cancel()
        if renewing.done() and not renewing.cancelled():
            renewing.result()

    async def _renew(self) -> None:
        try:
            while True:
                self._before = self._now
                self._now = await take_sample(self._administrator, self._most)
                self._before = self._before or self._now
                self._app.invalidate()
                await asyncio.sleep(self._interval)
        finally:
            if self._app.is_running:
                self._app.exit()

    def _text(self) -> ANSI:
        if self._now is None or self._before is None:
            return ANSI("...")
        width = self._app.output.get_size().columns
        console = Console(
            file=io.StringIO(),
            force_terminal=True,
            width=width,
            color_system="256",
            legacy_windows=False,
        )
        shown = len(self._now.clients["clients"])
        self._selected = max(0, min(self._selected, shown - 1))
        console.print(page(self._before, self._now, self._where, self._selected))
        question = f"Kick {self._doomed}? y / n" if self._doomed else self._note or _KEYS
        console.print(f"\n[reverse] {question} ", highlight=False)
        assert isinstance(console.file, io.StringIO)
        return ANSI(console.file.getvalue())

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        for pressed, names in (
            (self._quit, ("q", "c-c")),
            (self._up, ("up",)),
            (self._down, ("down",)),
            (self._choose, ("k",)),
            (self._confirm, ("y",)),
            (self._spare, ("n", "escape")),
        ):
            for name in names:
                keys.add(name)(self._redrawn(pressed))
        return keys

    def _redrawn(self, func: Callable[[], None]) -> Callable[[KeyPressEvent], None]:
        def pressed(event: KeyPressEvent) -> None:
            func()
            self._app.invalidate()

        return pressed

    def _quit(self) -> None:
        self._app.exit()

    def _up(self) -> None:
        self._selected -= 1

    def _down(self) -> None:
        self._selected += 1

    def _choose(self) -> None:
        clients = [] if self._now is None else self._now.clients["clients"]
        if clients:
            self._doomed = clients[min(self._selected, len(clients) - 1)]["addr"]

    def _confirm(self) -> None:
        if self._doomed is not None:
            task = asyncio.ensure_future(self._kick(self._doomed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._doomed = None

    def _spare(self) -> None:
        self._doomed = None

    async def _kick(self, client: str) -> None:
        try:
            await self._administrator.kick(client)
            self._note = f"kicked {client}"
        except (HiSockError, TimeoutError, asyncio.TimeoutError) as exc:
            self._note = one_line(exc)
        self._app.invalidate()
