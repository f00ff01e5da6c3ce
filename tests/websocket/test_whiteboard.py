"""The shared whiteboard of the examples, by hand and in real browsers."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from support import Program
from support.events import PATIENCE

from .browsing import ROOT, Browser
from .test_browser import browser
from .test_javascript import node
from .web_peer import WebPeer

__all__ = ["browser", "node"]  # fixtures

pytestmark = pytest.mark.timeout(120)

STROKE = {"points": [[1.0, 2.0], [3.0, 4.0]], "colour": "#d63a4a", "width": 6.0}
DARK = (
    "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 1600, 1000)"
    ".data.filter((value, at) => at % 4 === 3 && value > 200).length"
)


@contextlib.contextmanager
def whiteboard() -> Iterator[str]:
    with Program(
        [sys.executable, ROOT / "examples" / "whiteboard" / "whiteboard.py", "0"]
    ) as program:
        found = re.search(r"http://[\w.:]+/", program.wait_line("The whiteboard is at", 30))
        assert found
        yield found[0]


def port_of(url: str) -> int:
    with urllib.request.urlopen(url + "port", timeout=PATIENCE) as answer:
        port: int = json.load(answer)
    return port


def strokes_of(peer: WebPeer) -> Any:
    peer.raw(b"$CALL$1$CMD$board")
    reply = peer.wait_for(lambda frame: frame.reserved == "REPLY")
    return json.loads(reply.data.partition(b"$MSG$")[2])


def test_what_one_draws_the_others_of_its_board_see() -> None:
    with whiteboard() as url, contextlib.ExitStack() as stack:
        addr = ("127.0.0.1", port_of(url))
        peers = [stack.enter_context(WebPeer(addr)) for _ in range(3)]
        for peer, group in zip(peers, (None, "main", "other"), strict=True):
            assert peer.open().status == 101
            peer.reserved(
                "CLTHELLO", json.dumps({"name": None, "group": group, "features": ["call"]})
            )
            assert strokes_of(peer) == []
        ada, bob, eve = peers
        wrongs: list[dict[str, Any]]
        wrongs = [{"colour": "red"}, {"points": []}, {"width": 0}, {"points": [[1]]}]
        for wrong in wrongs:
            ada.send("draw", json.dumps(STROKE | wrong))
        ada.send("draw", json.dumps(STROKE))
        assert bob.wait_for("drawn").json == STROKE
        ada.send("point", "[5, 6]")
        assert bob.wait_for("pointed").json == {"name": None, "at": [5.0, 6.0]}
        assert strokes_of(ada) == [STROKE]
        assert strokes_of(eve) == []
        bob.send("clear")
        ada.wait_for("cleared")
        assert strokes_of(ada) == []


@pytest.mark.browser
def test_a_line_that_is_drawn_with_the_mouse_is_on_the_other_page(browser: Browser) -> None:
    with whiteboard() as url:
        ada = browser.open(url + "?name=Ada", viewport={"width": 900, "height": 640})
        bob = browser.open(url + "?name=Bob", viewport={"width": 390, "height": 700})
        for page in (ada, bob):
            page.wait_until("document.getElementById('state').textContent.startsWith('everybody')")
        ada("mouse.move", 200, 200)
        ada("mouse.down")
        for x in (300, 400, 500):
            ada("mouse.move", x, 300)
        ada("mouse.up")
        bob.wait_until(f"{DARK} > 1000")
        bob.wait_until("document.getElementById('pointer-Ada')")
        late = browser.open(url + "?name=Eve")
        late.wait_until(f"{DARK} > 1000")
        bob("click", "#clear")
        for page in (ada, bob, late):
            page.wait_until(f"{DARK} === 0")
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
            page("close")
