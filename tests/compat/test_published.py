"""The network parts of published games and of 2.0.2's own examples, in our words.

Each program plays to its end by itself, so that all pairs of versions play at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from support import OldHiSock, Program

from .running import PAIRS, Stage


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


@pytest.mark.parametrize("name", PLAYS)
def test_a_published_program(
    run_on_ours: Callable[..., Program], old_hisock: OldHiSock, name: str
) -> None:
    play = PLAYS[name]
    with ExitStack() as stack:
        stages = {pair: Stage(run_on_ours, old_hisock, stack) for pair in PAIRS}
        programs = {pair: [stage.start(pair[0], play.server)] for pair, stage in stages.items()}
        for pair in PAIRS:
            programs[pair][0].wait_line("^ready$")
        for script, arguments, until in play.clients:
            for pair, stage in stages.items():
                programs[pair].append(stage.start(pair[1], script, *arguments))
            for pair in PAIRS:
                program = programs[pair][0 if until == "connected" else -1]
                if until:
                    program.wait_line(until)
        for (server, client), started in programs.items():
            versions = [server] + [client] * len(play.clients)
            for version, program, wanted in zip(versions, started, play.lines, strict=True):
                program.wait()
                assert program.lines == wanted, (server, client, program.errors)
                # Threads of 2.0.2 end with tracebacks where their sockets are closed.
                assert version == "2.0.2" or "Traceback" not in program.errors, program.errors
