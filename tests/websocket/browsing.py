"""Browsers that tests drive: Debian's Chromium and Firefox, by playwright-core from ``js/``."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlencode

from support import Program

ROOT = Path(__file__).parents[2]
JS = ROOT / "js"
PROGRAMS = Path(__file__).parent / "programs"
BrowserName = Literal["chromium", "firefox"]
_COMMANDS = {
    "chromium": ("chromium", "chromium-browser"),
    "firefox": ("firefox-esr", "firefox"),
}
#: Seconds for a browser to start, and for a page to get somewhere.
START, PATIENCE = 60.0, 30.0


def find_browser(name: BrowserName) -> str | None:
    """The command of a browser that is installed."""
    return next(filter(None, map(shutil.which, _COMMANDS[name])), None)


class Browser:
    """A browser without a window.

    :ivar program: the Node program that drives it.
    """

    def __init__(self, node: str, name: BrowserName, command: str) -> None:
        self.name = name
        self.program = Program([node, PROGRAMS / "browse.mjs", name, command])
        self._numbers = itertools.count()

    def __enter__(self) -> Browser:
        self.program.__enter__()
        self.program.wait_line("ready", START)
        return self

    def __exit__(self, *_: object) -> None:
        # A browser whose driver is killed may stay behind.
        with contextlib.suppress(OSError):
            self.program.tell("quit")
        self.program.wait(PATIENCE)
        self.program.kill()

    def open(self, url: str, **options: Any) -> BrowserPage:
        """A page, in a profile of its own.

        :param options: those of Playwright's ``newContext``: ``viewport``, ``colorScheme``, ...
        """
        page = BrowserPage(self, next(self._numbers))
        page("open", options)
        page("goto", url)
        return page

    def ask(self, *call: Any) -> Any:
        self.program.tell(json.dumps(call))
        answer = json.loads(self.program.wait_line("", START))
        assert "error" not in answer, (answer["error"], self.program.errors)
        return answer["value"]


class BrowserPage:
    """One page: called with the name of a method of Playwright's page, and its arguments."""

    def __init__(self, browser: Browser, number: int) -> None:
        self._browser = browser
        self._number = number

    def __call__(self, method: str, *arguments: Any) -> Any:
        return self._browser.ask(self._number, method, *arguments)

    def evaluate(self, expression: str) -> Any:
        return self("evaluate", expression)

    def wait_until(self, expression: str, timeout: float = PATIENCE) -> None:
        """Wait for an expression to be true in the page."""
        self("waitForFunction", expression, {"timeout": 1000 * timeout})


class BrowserScene:
    """A scene of ``programs/scenes.mjs`` in a page, to be used as a :class:`support.Program`."""

    def __init__(self, browser: Browser, site: int, scene: str, url: str) -> None:
        asked = urlencode({"scene": scene, "url": url})
        self._browser = browser
        self._address = f"http://127.0.0.1:{site}/tests/websocket/programs/page.html?{asked}"

    def __enter__(self) -> BrowserScene:
        self._page = self._browser.open(self._address, ignoreHTTPSErrors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._page("close")

    def wait_line(self, text: str, timeout: float = PATIENCE) -> None:
        self._page.wait_until(f"lines.some((line) => line.includes({json.dumps(text)}))", timeout)

    def tell(self, line: str) -> None:
        self._page.evaluate(f"tell({json.dumps(line)})")

    def finish(self, timeout: float = PATIENCE) -> list[str]:
        self._page.wait_until("window.done", timeout)
        return cast("list[str]", self._page.evaluate("lines"))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_request(self, *_: object) -> None:
        """Nothing of interest."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[int]:
    """A folder over HTTP; the port."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        thread = threading.Thread(target=pages.serve_forever, args=[0.05])
        thread.start()
        yield pages.server_address[1]
        pages.shutdown()
        thread.join()
