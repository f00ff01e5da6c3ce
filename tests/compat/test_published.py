"""The network parts of published games and of 2.0.2's own examples, in our words.

On 2.0.2 alone, server and clients, they print the same lines.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from support import Program

from .running import Stage

PAIRS = [("ours", "ours"), ("ours", "2.0.2"), ("2.0.2", "ours")]


#: Seconds that a play may take: on a busy machine some pass before all its programs have started.
PLAYS_SECONDS = 60


class Play(NamedTuple):
    """A server, its clients in the order in which they come, and what each has to print.

    :ivar clients: script, further arguments, and the line to wait for before the next comes: of
        the client, and "connected" of the server.
    :ivar lines: of the server, then of the clients.
    """

    server: str
    clients: list[tuple[str, list[str], str]]
    lines: list[list[str]]


PLAYS = {
    "basic": Play(
        "basic_server.py",
        [("basic_client.py", [], "")],
        [
            ["ready", "basic of examples, ip 127.0.0.1", "asked for 20+22", "left basic", "closed"],
            ["greeted lately True", "total 42", "forced out", "end"],
        ],
    ),
    "large loads": Play(
        "load_server.py",
        [("load_client.py", ["receiver"], ""), ("load_client.py", ["sender"], "")],
        [
            ["ready", "loads [1000, 2000, 3000, 4000, 5000]"],
            ["[1000, 2000, 3000, 4000, 5000]", "end"],
            ["end"],
        ],
    ),
    "a board with windows and rematches": Play(
        "board_server.py",
        [("board_client.py", ["ann", "0"], "ann joined"), ("board_client.py", ["bob", "1"], "")],
        [
            ["ready", "won by ann", "won by ann", "nobody plays again"],
            ["True hi ann", "ann joined", "bob joined", "ann won", "ann won", "end"],
            ["True hi bob", "bob joined", "ann won", "ann won", "end"],
        ],
    ),
    "snakes": Play(
        "snake_server.py",
        [("snake_client.py", ["ann"], "connected"), ("snake_client.py", ["bob"], "")],
        [
            [
                "ready",
                "ann (127.0.0.1) connected",
                "bob (127.0.0.1) connected",
                "left ['ann', 'bob']",
                "end",
            ],
            ["started True", "arrived True", "end"],
            ["started True", "arrived True", "end"],
        ],
    ),
    "calls": Play(
        "voip_server.py",
        [("voip_client.py", ["ann"], "online"), ("voip_client.py", ["bob"], "")],
        [
            ["ready", "left bob#0001", "left ann#0000"],
            [
                "online ['ann#0000']",
                "joined bob#0001",
                "bob#0001 hello True",
                "called by bob#0001",
                "pictures [b'picture 0', b'picture 1', b'picture 2']",
                "left bob#0001",
                "over",
            ],
            ["online ['ann#0000', 'bob#0001']", "talks to ann#0000", "over"],
        ],
    ),
    "a duel that hosts itself": Play(
        "duel_host.py",
        [("duel_guest.py", [], "")],
        [
            ["ready", "profile {'name': 'guest'}", "moves [[0, 0], [1, 2], [2, 4]]", "end"],
            [
                "no server there",
                "against host",
                "server: guest connected (1/1)",
                "tab starting",
            ],
        ],
    ),
}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[1]} on {pair[0]}")
@pytest.mark.parametrize("name", PLAYS)
def test_a_published_program(stage: Stage, name: str, pair: tuple[str, str]) -> None:
    play = PLAYS[name]
    server = stage.serve(pair, play.server)
    clients: list[Program] = []
    for script, arguments, until in play.clients:
        clients.append(stage.start(pair[1], script, *arguments))
        if until:
            (server if until == "connected" else clients[-1]).wait_line(until)
    versions = [pair[0]] + [pair[1]] * len(clients)
    for version, program, wanted in zip(versions, [server, *clients], play.lines, strict=True):
        program.wait(PLAYS_SECONDS)
        assert program.lines == wanted, program.errors
        # Threads of 2.0.2 end with tracebacks where their sockets are closed.
        assert version == "2.0.2" or "Traceback" not in program.errors, program.errors
