"""Servers of several processes as one: killed workers and brokers, and what arrives meanwhile."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Broker
from support.events import PATIENCE
from support.polling import eventually
from support.process import Program, environment

import hisock

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix sockets"),
]

GAME = """
import os
import hisock

server = hisock.HiSockServer(None, unique_names=True, announce="none", restart_after=0.1)

@server.on("where")
def where(client):
    return os.getpid()

@server.on("known")
def known(client):
    return sorted(client.name for client in server.get_all_clients())

@server.on("lost")
def lost(client):
    figures = server.stats().cluster
    return figures.lost + figures.missed

@server.on("say")
def say(client, number: int):
    server.send_group(client, "said", number)
"""
NUMBERS = 150


class Player:
    """A client that comes back, and writes down the numbers that it hears."""

    def __init__(self, addr: tuple[str, int], name: str) -> None:
        self.heard: list[int] = []
        self.client = hisock.ThreadedHiSockClient(addr, name, "room", reconnect=True)
        self.client.on("said")(lambda number: self.heard.append(int(number)))
        self.client.start()
        self.pid = self.ask("where", int)

    def ask(self, command: str, kind: type) -> object:
        """Call the server, also while the client is coming back."""
        for _ in range(3000):
            with contextlib.suppress(hisock.ConnectionLost):
                return self.client.call(command, type=kind, timeout=PATIENCE)
            time.sleep(0.005)
        raise AssertionError("it does not come back")


class Played:
    """A game of some workers, and players on all of them; the first of them speaks."""

    def __init__(self, folder: Path, options: list[str], stack: contextlib.ExitStack) -> None:
        (folder / "game.py").write_text(GAME, "utf-8")
        env = environment(PYTHONPATH=str(Path(hisock.__file__).parents[1]))
        command = [sys.executable, "-m", "hisock", "serve", "game:server", "--workers", "3"]
        command += ["--bind", "127.0.0.1:0", *options]
        self.program = stack.enter_context(Program(command, env, cwd=folder))
        found = re.search(r":(\d+) with", self.program.wait_line("Serving at", 60))
        assert found is not None
        self.addr = ("127.0.0.1", int(found[1]))
        self.players: list[Player] = []
        while len(self.players) < 6 or len({player.pid for player in self.players}) < 3:
            self.players.append(Player(self.addr, f"player {len(self.players)}"))
            stack.callback(self.players[-1].client.close)
        self.speaker = self.players[0]
        self.names = sorted(player.client.name or "" for player in self.players)
        self.all_know_all()

    def all_know_all(self) -> None:
        """Wait until the worker of each player knows all players, and nobody else."""
        for player in self.players:
            eventually(lambda player=player: player.ask("known", list) == self.names)  # type: ignore[misc] # mypy and defaults

    def on_others(self) -> list[Player]:
        return [player for player in self.players if player.pid != self.speaker.pid]

    def speak(self, numbers: range) -> None:
        for number in numbers:
            self.speaker.client.send("say", number)
            time.sleep(0.002)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as entered:
        yield entered


def broker_of(kind: str, folder: Path, stack: contextlib.ExitStack) -> Broker:
    broker = Broker(kind, folder)
    stack.callback(broker.kill)
    return broker


@pytest.mark.parametrize("kind", ["local", "nats", "redis"])
def test_a_killed_worker_costs_only_its_own_clients_their_connection(
    kind: str, tmp_path: Path, stack: contextlib.ExitStack
) -> None:
    options = []
    if kind != "local":
        options = ["--cluster", broker_of(kind, tmp_path, stack).url]
    game = Played(tmp_path, options, stack)
    victim = game.on_others()[0].pid
    speaking = threading.Thread(target=game.speak, args=(range(NUMBERS),))
    speaking.start()
    eventually(lambda: len(game.speaker.heard) > NUMBERS // 3)
    os.kill(int(str(victim)), signal.SIGKILL)
    speaking.join()
    for player in game.players:
        if player.pid != victim:
            eventually(lambda player=player: len(player.heard) >= NUMBERS)  # type: ignore[misc] # likewise
            assert player.heard == list(range(NUMBERS))
        else:
            assert player.ask("where", int) != victim
            assert player.heard == sorted(set(player.heard))
    # The names of those who came back are theirs again, and no ghost has one.
    game.all_know_all()
    game.speak(range(NUMBERS, NUMBERS + 20))
    for player in game.players:
        eventually(lambda player=player: player.heard[-1] == NUMBERS + 19)  # type: ignore[misc] # likewise


@pytest.mark.parametrize("kind", ["nats-newest", "valkey"])
def test_what_a_broker_that_is_killed_loses_is_counted_and_what_is_later_arrives(
    kind: str, tmp_path: Path, stack: contextlib.ExitStack
) -> None:
    broker = broker_of(kind, tmp_path, stack)
    game = Played(tmp_path, ["--cluster", broker.url], stack)
    speaking = threading.Thread(target=game.speak, args=(range(NUMBERS * 2),))
    speaking.start()
    eventually(lambda: len(game.speaker.heard) > NUMBERS // 3)
    broker.kill()
    eventually(lambda: len(game.speaker.heard) > NUMBERS)
    broker.start()
    speaking.join()
    game.all_know_all()
    game.speak(range(NUMBERS * 2, NUMBERS * 2 + 20))
    missing = 0
    for player in game.players:
        eventually(lambda player=player: player.heard[-1] == NUMBERS * 2 + 19)  # type: ignore[misc] # likewise
        assert player.heard == sorted(set(player.heard)), "twice, or out of order"
        if player.pid == game.speaker.pid:
            assert len(player.heard) == NUMBERS * 2 + 20
        else:
            missing = max(missing, NUMBERS * 2 + 20 - len(player.heard))
    assert missing
    counted = sum(int(str(player.ask("lost", int))) for player in game.players)
    assert counted >= missing
