"""Which pages a server admits, as real browsers ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.polling import eventually

from .browsing import ROOT, Browser, BrowserName, find_browser, served
from .conftest import MakeWebServer
from .test_javascript import node

__all__ = ["node"]  # a fixture

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest, node: str) -> Iterator[Browser]:
    name: BrowserName = request.param
    found = find_browser(name)
    if found is None or not os.environ.get("HISOCK_TEST_BROWSER"):
        pytest.skip("`make test-web` runs this")
    with Browser(node, name, found) as opened:
        yield opened


def page_of(site: int, port: int) -> str:
    url = f"ws://127.0.0.1:{port}/"
    return f"http://127.0.0.1:{site}/tests/websocket/programs/page.html?scene=rejected&url={url}"


def test_a_page_of_the_named_origin_talks_with_the_server(
    make_web_server: MakeWebServer, browser: Browser
) -> None:
    with served(ROOT) as site:
        server = make_web_server(web={"origins": [f"http://127.0.0.1:{site}"]})
        server.start()
        page = browser.open(page_of(site, server.addr[1]))
        eventually(lambda: len(server) == 1, "a client")
        page("close")


def test_a_page_of_another_origin_is_refused(
    make_web_server: MakeWebServer, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with served(ROOT) as site:
        server = make_web_server()
        server.start()
        page = browser.open(page_of(site, server.addr[1]))
        page.wait_until("window.done")
        assert page.evaluate("lines") == ["rejected false closed: 1006"]
        assert server.stats().ended == {"http": 1}
        assert "403" in caplog.text
        page("close")
