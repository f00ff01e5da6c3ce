"""``hisock demo --web``: what it serves, and the page in real browsers."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Program
from support.events import PATIENCE

from .browsing import JS, ROOT, Browser
from .test_browser import browser
from .test_javascript import node
from .web_peer import WebPeer

__all__ = ["browser", "node"]  # fixtures

SITE = ROOT / "hisock" / "_cli" / "demo" / "site"
SCREENSHOT = ROOT / "docs" / "images" / "demo.png"

pytestmark = pytest.mark.timeout(150)


@contextlib.contextmanager
def demo(*options: str) -> Iterator[tuple[Program, str]]:
    """A running demo, and the address of its page."""
    command = [sys.executable, "-m", "hisock", "demo", "--web", "--plain", *options]
    with Program(command) as program:
        line = program.wait_line("The page is at", 60)
        found = re.search(r"http://[\w.:]+/", line)
        assert found, line
        yield program, found[0]
        program.interrupt()
        program.wait(60)


def get(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_its_page_is_served_and_visitors_chase_the_star_among_the_players() -> None:
    with demo("--players", "6") as (program, url):
        for name in SITE.iterdir():
            kind, body = get(url + name.name)
            assert body == name.read_bytes()
            assert kind.startswith("text/")
        assert get(url)[1] == (SITE / "index.html").read_bytes()
        for path in ("nothing", "../server.py", "..%2fserver.py", "site/", "//etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(url + path)
        port = json.loads(get(url + "config.json")[1])["port"]
        play_by_hand(("127.0.0.1", port))
        program.interrupt()
        assert program.wait(60) == 0, program.errors
    assert "lost          0" in program.lines


def play_by_hand(addr: tuple[str, int]) -> None:
    """Two visitors: one catches the star, and the other is told. Nobody walks before entering."""
    ada, bob = WebPeer(addr), WebPeer(addr)
    with ada, bob:
        for peer, name in ((ada, "Ada"), (bob, " " * 30)):
            assert peer.open(Origin="http://elsewhere.example").status == 101
            hello = {"name": name, "group": "room-0", "features": ["call"]}
            peer.reserved("CLTHELLO", json.dumps(hello))
            assert peer.wait_for("move").message is not None
        bob.send("walk", '{"x": 1, "y": 1}')
        assert ask(ada)["visitors"] == [visitor(1, "Ada")]
        found = ask(bob)
        assert found["visitors"] == [visitor(1, "Ada"), visitor(2, "visitor 2")]
        assert ada.wait_for("came").json["name"] == "visitor 2"
        ada.send("walk", '{"x": -1e300, "y": 100000}')
        assert bob.wait_for("walked").json == [1, 0.0, 480.0]
        ada.send("walk", '{"x": "nowhere"}')
        x, y = found["star"]
        ada.send("walk", json.dumps({"x": x + 5, "y": y - 5}))
        caught = bob.wait_for("caught").json
        assert caught["id"] == caught["score"] == 1
        assert caught["star"] != found["star"]
        ada.close()
        assert bob.wait_for("went").json == 1


def ask(peer: WebPeer) -> Any:
    peer.raw(b"$CALL$1$CMD$enter")
    reply = peer.wait_for(lambda frame: frame.reserved == "REPLY")
    return json.loads(reply.data.partition(b"$MSG$")[2])


def visitor(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "name": name, "x": 320.0, "y": 240.0, "score": 0}


@pytest.mark.node
@pytest.mark.once
def test_the_client_of_the_page_is_the_one_that_is_built(node: str) -> None:
    built = (JS / "dist" / "hisock.min.js").read_bytes()
    assert (SITE / "hisock.min.js").read_bytes() == built, "cp js/dist/hisock.min.js " + str(SITE)


@pytest.mark.browser
def test_two_tabs_play_and_are_shown(browser: Browser, tmp_path: Path) -> None:
    with demo("--players", "24") as (_, url):
        ada = browser.open(url + "?name=Ada", viewport={"width": 880, "height": 640})
        phone = {"width": 390, "height": 760}
        bob = browser.open(url + "?name=Bob", viewport=phone, colorScheme="dark")
        for page in (ada, bob):
            page.wait_until("window.demo?.visitors.size === 2 && demo.players.size === 24")
        catch_the_star(ada)
        bob.wait_until("[...demo.visitors.values()].some((one) => one.name === 'Ada' && one.score)")
        bob("keyboard.down", "ArrowLeft")
        ada.wait_until(
            "[...demo.visitors.values()].some((one) => one.name === 'Bob' && one.x < 250)"
        )
        bob("keyboard.up", "ArrowLeft")
        ada.wait_until("document.getElementById('figures').textContent.includes('ms')")
        assert not bob.evaluate("document.documentElement.scrollWidth > innerWidth")
        draw_screenshots(browser, ada, bob, tmp_path)
        bob("close")
        ada.wait_until("demo.visitors.size === 1")
        ada("close")


def catch_the_star(page: Any) -> None:
    """Press on the star, as a finger would, until it is caught."""
    box = page.evaluate("document.querySelector('canvas').getBoundingClientRect().toJSON()")
    scale = min(box["width"] / 640, box["height"] / 480)
    left = box["x"] + (box["width"] - 640 * scale) / 2
    top = box["y"] + (box["height"] - 480 * scale) / 2
    x, y = page.evaluate("demo.star")
    page("mouse.move", left + x * scale, top + y * scale)
    page("mouse.down")
    page.wait_until("demo.me.score > 0")
    page("mouse.up")


def draw_screenshots(browser: Browser, wide: Any, phone: Any, folder: Path) -> None:
    for name, page in (("wide", wide), ("phone", phone)):
        page("screenshot", {"path": str(folder / f"{name}.png")})
        assert (folder / f"{name}.png").stat().st_size > 10_000
    if browser.name == "chromium":
        wide("screenshot", {"path": str(SCREENSHOT)})
