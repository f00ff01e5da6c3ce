"""The JavaScript client in a real browser: Chromium, without a window."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Events

import hisock

JS = Path(__file__).parents[2] / "js"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]
PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
import { connect } from "./hisock.min.js";
const game = connect("ws://127.0.0.1:PORT/ws?room=1", { name: "Ada" });
game.on("said", async (text) => {
  const sum = await game.call("sum", [1, 2, 3]);
  game.send("report", [sum, text, navigator.userAgent.includes("Chrom")]);
}, String);
game.on("quit", () => game.close());
game.ready.then(() => game.send("say", "hello ඞ"), () => {});
</script>
"""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def chromium() -> str:
    """Chromium, with the client built."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None or not (JS / "dist" / "hisock.min.js").exists():
        why = "Chromium and `make test-js` before are needed; `make test-web` runs these tests"
        if os.environ.get("HISOCK_TEST_BROWSER"):
            pytest.fail(why)
        pytest.skip(why)
    return found


@contextlib.contextmanager
def served(folder: Path) -> Iterator[int]:
    """A folder over HTTP; the port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        yield pages.server_address[1]
        pages.shutdown()
        thread.join()


@contextlib.contextmanager
def opened(chromium: str, folder: Path, url: str) -> Iterator[None]:
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", url]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            yield
        finally:
            process.terminate()


def serve(events: Events, origins: list[str] | None) -> hisock.ThreadedHiSockServer:
    web = hisock.WebSocket(path="/ws", origins=origins)
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), websocket=web)
    server.on("sum")(_sum)
    server.on("leave")(lambda client: events.add("leave", client.name))

    @server.on("say")
    def say(client: hisock.ClientInfo, text: str) -> None:
        server.send_all_clients("said", text)

    @server.on("report")
    def report(client: hisock.ClientInfo, seen: list[Any]) -> None:
        events.add("report", *seen)

    server.start()
    return server


def _sum(client: hisock.ClientInfo, numbers: list[int]) -> int:
    return sum(numbers)


def lay_out(folder: Path, port: int) -> None:
    shutil.copy(JS / "dist" / "hisock.min.js", folder)
    (folder / "index.html").write_text(PAGE.replace("PORT", str(port)), "utf-8")


def test_a_page_talks_with_the_server(chromium: str, tmp_path: Path, events: Events) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with served(site) as port, serve(events, [f"http://127.0.0.1:{port}"]) as server:
        lay_out(site, server.addr[1])
        with opened(chromium, tmp_path, f"http://127.0.0.1:{port}/"):
            assert events.wait_for("report", timeout=60) == ("report", 6, "hello ඞ", True)
            server.send_all_clients("quit")
            events.wait_for("leave", timeout=30)
        assert server.stats().ended == {"left": 1}


def test_a_page_of_another_origin_is_refused(
    chromium: str, tmp_path: Path, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with served(site) as port, serve(events, None) as server:
        lay_out(site, server.addr[1])
        with opened(chromium, tmp_path, f"http://127.0.0.1:{port}/"):
            deadline = threading.Event()
            for _ in range(600):
                if server.stats().ended.get("http"):
                    break
                deadline.wait(0.1)
        assert server.stats().ended == {"http": 1}
        assert "403" in caplog.text
        assert events.seen == []
