"""``hisock top``: a real server, a real terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from features.wire import HandServer
from support.events import Events
from support.terminal import Terminal

import hisock

from .running import run_here

pytestmark = pytest.mark.timeout(60)
TOKEN = "a long enough secret"


@pytest.fixture
def busy() -> Iterator[tuple[hisock.ThreadedHiSockServer, Events]]:
    """A server with an administrator's token, a tick, and events of those who left."""
    events = Events()
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0), admin_token=TOKEN) as server:
        server.on("leave")(lambda client: events.add("leave", client.name))

        @server.on("add")
        def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
            return sum(numbers)

        @server.every(0.05)
        def step() -> None:
            pass

        server.start()
        yield server, events


@pytest.fixture
def by_hand() -> Iterator[HandServer]:
    with HandServer() as server:
        yield server


def test_one_page_one_object_and_one_kick(
    busy: tuple[hisock.ThreadedHiSockServer, Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, events = busy
    monkeypatch.setenv("HISOCK_ADMIN_TOKEN", TOKEN)
    words = ["top", f":{server.addr[1]}"]
    with hisock.connect(server.addr, name="Ada", group="lobby") as ada:
        ada.call("add", [1], int)
        done = run_here(monkeypatch, *words, "--once", "--interval", "0.1")
        assert done.returncode == 0, done.stderr
        assert "clients 1" in done.stdout
        assert "Ada" in done.stdout
        assert "step" in done.stdout
        done = run_here(monkeypatch, *words, "--once", "--json", "--interval", "0.1")
        found = json.loads(done.stdout)
        assert found["clients"][0]["name"] == "Ada"
        assert found["stats"]["ticks"]
        assert set(found["rates"]) >= {"messages_in", "bytes_out"}
        done = run_here(monkeypatch, *words, "--kick", "Ada")
        assert done.stdout.startswith("Disconnected Ada at 127.0.0.1:")
        events.wait_for("leave")
        done = run_here(monkeypatch, *words, "--kick", "Ada")
        assert done.returncode == 1
        assert "no client is called 'Ada'" in done.stderr


@pytest.mark.parametrize("answer", ["", "[", "[" * 100_000, "{}", '{"stats": 5}', '"\N{SNOWMAN}"'])
def test_answers_of_another_version_are_said_in_one_line(
    by_hand: HandServer, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setenv("HISOCK_ADMIN_TOKEN", TOKEN)

    def serve() -> None:
        with by_hand.take() as peer:
            peer.read()
            peer.reserved("SRVHELLO", json.dumps({"features": ["call", "admin"], "codec": "json"}))
            for number in range(1, 5):
                call = peer.read()
                if call.reserved != "CALL":
                    return
                peer.reserved("REPLY", f"{number}$MSG${answer}")

    with by_hand.playing(serve):
        words = ["top", f":{by_hand.addr[1]}", "--once", "--interval", "0.05"]
        done = run_here(monkeypatch, *words)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "not one that this version understands" in done.stderr


def test_who_has_no_right_token_is_told_in_one_line(
    busy: tuple[hisock.ThreadedHiSockServer, Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = busy
    for token, status, said in [("", 2, "missing"), ("not the secret", 1, "is wrong")]:
        monkeypatch.setenv("HISOCK_ADMIN_TOKEN", token)
        done = run_here(monkeypatch, "top", f":{server.addr[1]}", "--once")
        assert done.returncode == status
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_at_a_terminal_a_client_is_chosen_and_kicked(
    busy: tuple[hisock.ThreadedHiSockServer, Events],
) -> None:
    server, events = busy
    command = [sys.executable, "-m", "hisock", "top", f":{server.addr[1]}"]
    with (
        hisock.connect(server.addr, name="Ada"),
        Terminal([*command, "--admin-token", TOKEN, "--interval", "0.1"]) as terminal,
    ):
        terminal.wait_for("Ada")
        terminal.wait_for("k: kick it")
        terminal.press("k")
        terminal.wait_for("Kick 127.0.0.1:")
        terminal.press("n")
        terminal.wait_for("k: kick it")
        assert events.named("leave") == []
        terminal.press("k")
        terminal.wait_for("? y / n")
        terminal.press("y")
        events.wait_for("leave")
        terminal.wait_for("clients 0")
        terminal.press("q")
        assert terminal.status() == 0
