"""The JavaScript client and the real server; `make test-web` runs it beyond Node as well."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reliability.certificates import Authority
from support import Events, Program
from support.locking import one_at_a_time
from support.process import environment

import hisock

from .browsing import JS, PROGRAMS, ROOT, Browser, BrowserScene, find_browser, served
from .conftest import MakeWebServer

Play = Callable[..., "Program | BrowserScene"]
#: How a program is run, with the options that let it read files and use the network.
_RUNTIMES = {"node": [], "bun": ["run"], "deno": ["run", "--quiet", "--allow-all"]}
_BROWSERS = ["chromium", "firefox"]
#: The pages of the browsers come from another port.
ANY_PAGE = {"origins": "*"}
_ALL = os.environ.get("HISOCK_TEST_BROWSER")

pytestmark = [pytest.mark.node, pytest.mark.once, pytest.mark.timeout(180)]


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*.ts"))


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the client built.

    Without Node these tests are skipped on somebody's machine, and fail where CI is set.
    """
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        why = "Node 20 and npm are needed; leave these tests out with: pytest -m 'not node'"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with one_at_a_time(cache / "javascript.lock"):
        _build(npm)
    return found


def _build(npm: str) -> None:
    built = JS / "dist" / "index.js"
    if not (JS / "node_modules").exists():
        subprocess.run([npm, "ci", "--silent"], cwd=JS, check=True, timeout=120)
    if not built.exists() or built.stat().st_mtime < _newest(JS / "src"):
        subprocess.run([npm, "run", "--silent", "build"], cwd=JS, check=True, timeout=120)


@pytest.fixture(scope="module", params=[*_RUNTIMES, *_BROWSERS] if _ALL else ["node"])
def play(request: pytest.FixtureRequest, node: str) -> Iterator[Play]:
    """Starts a scene of ``programs/scenes.mjs``, in each place where the client runs."""
    place = request.param
    if place in _RUNTIMES:
        command = node if place == "node" else JS / "node_modules" / ".bin" / place

        def start(scene: str, addr: tuple[str, int], ca: Path | None = None) -> Program:
            trusted = str(ca) if ca else None
            env = environment(NODE_EXTRA_CA_CERTS=trusted, DENO_CERT=trusted)
            run = [command, *_RUNTIMES[place], PROGRAMS / "play.mjs"]
            return Program([*run, scene, url_of(addr, ca)], env)

        yield start
        return
    found = find_browser(place)
    assert found, f"{place} is not installed"
    with served(ROOT) as site, Browser(node, place, found) as browser:

        def show(scene: str, addr: tuple[str, int], ca: Path | None = None) -> BrowserScene:
            return BrowserScene(browser, site, scene, url_of(addr, ca))

        yield show


def url_of(addr: tuple[str, int], ca: Path | None) -> str:
    return f"ws://{addr[0]}:{addr[1]}/" if ca is None else f"wss://localhost:{addr[1]}/"


def serve_talk(server: hisock.HiSockServer, events: Events) -> None:
    @server.authenticate
    def authenticate(request: hisock.JoinRequest) -> None:
        events.add("request", request.name, request.group, request.token)

    @server.on("sum")
    def total(client: hisock.ClientInfo, numbers: list[int]) -> int:
        return sum(numbers)

    @server.on("upper")
    def upper(client: hisock.ClientInfo, text: str) -> str:
        return text.upper()

    @server.on("nothing")
    def nothing(client: hisock.ClientInfo) -> None:
        """Reply with nothing."""

    @server.on("fails")
    def fails(client: hisock.ClientInfo) -> None:
        raise ValueError("not today")

    @server.on("ask_me", concurrent=True)
    async def ask_me(client: hisock.ClientInfo, number: int) -> int:
        return await server.call(client, "double", number, int)

    @server.on("say")
    def say(client: hisock.ClientInfo, text: str) -> None:
        server.send_group(client, "said", text)

    @server.on("quit")
    def quit_(client: hisock.ClientInfo) -> None:
        server.disconnect_client(client)


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_it_talks_with_the_server(
    make_web_server: MakeWebServer, events: Events, play: Play, tmp_path: Path, over: str
) -> None:
    authority = Authority.make(tmp_path)
    tls = over == "tls"
    pair = (authority.server, authority.server) if tls else None
    server = make_web_server(web=ANY_PAGE, ssl=pair)
    serve_talk(server, events)
    server.start()
    with play("talk", server.addr, authority.ca if tls else None) as program:
        lines = program.finish(60)
    assert lines == [
        "joined Ada",
        "sum 6",
        "text HELLO ඞ",
        "nothing true",
        "failed true not today",
        "unknown true",
        "asked back 42",
        "big 1000000",
        "said bye",
        "closed disconnected closed",
    ]
    assert events.seen == [("request", "Ada", "red", "t")]


def test_messagepack(make_web_server: MakeWebServer, play: Play) -> None:
    server = make_web_server(web=ANY_PAGE, codec="msgpack")

    @server.on("move")
    def move(client: hisock.ClientInfo, where: dict[str, Any]) -> dict[str, Any]:
        return {**where, "seen": True}

    server.start()
    with play("msgpack", server.addr) as program:
        assert program.finish(60) == ['moved {"x":1.5,"tags":["a"],"seen":true}']


def test_it_is_told_why_it_is_not_let_in(make_web_server: MakeWebServer, play: Play) -> None:
    server = make_web_server(web=ANY_PAGE)

    @server.authenticate
    def authenticate(request: hisock.JoinRequest) -> None:
        raise hisock.Reject("nobody called Eve")

    server.start()
    with play("rejected", server.addr) as program:
        assert program.finish(60) == ["rejected true nobody called Eve"]


def test_it_comes_back_after_a_restart_with_what_was_sent_meanwhile(
    make_web_server: MakeWebServer, events: Events, play: Play
) -> None:
    def make(addr: tuple[str, int]) -> hisock.ThreadedHiSockServer:
        server = make_web_server(addr, web=ANY_PAGE)
        server.on("note")(lambda client, message: events.add(client.name, message))
        server.on("kick")(lambda client: None)
        server.start()
        return server

    first = make(("127.0.0.1", 0))
    with play("restart", first.addr) as program:
        program.wait_line("here")
        first.close()
        program.wait_line("lost 1001")
        program.tell("send")
        second = make(first.addr)
        program.wait_line("back")
        assert events.wait_for("Ada") == ("Ada", b"written meanwhile")
        second.disconnect_all_clients()
        program.wait_line("kicked")
