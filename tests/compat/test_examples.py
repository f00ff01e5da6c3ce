"""The programs of ``hisock.examples``, on ours and on 2.0.2, in every pairing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import OldHiSock, Program, free_port
from support.fixtures import Run
from support.process import environment

import hisock.examples

from .running import every_pair

TICTACTOE = Path(hisock.examples.__file__).with_name("tictactoe.py")


@every_pair
def test_tic_tac_toe(run_on_ours: Run, old_hisock: OldHiSock, pair: tuple[str, str]) -> None:
    run = {"ours": run_on_ours, "2.0.2": old_hisock.start}
    port = str(free_port())
    with run[pair[0]](TICTACTOE, "host", port) as server:
        server.wait_line("hosting")
        with run[pair[1]](TICTACTOE, "connect", port, "ann") as ann:
            ann.wait_line("you are X")
            with run[pair[1]](TICTACTOE, "connect", port, "bob") as bob:
                # The first cell, 0, is a falsy value, which 2.0.2 sends as no message.
                for player, cell in ((ann, "0"), (bob, "1"), (ann, "3"), (bob, "2"), (ann, "6")):
                    player.tell(cell)
                ann.wait_line("you win")
                bob.wait_line("you lose")


def test_it_is_run_as_a_module() -> None:
    command = [sys.executable, "-m", "hisock.examples.tictactoe"]
    with Program(command, environment()) as program:
        program.tell("host")
        program.tell(str(free_port()))
        program.wait_line("hosting on port")


@pytest.mark.parametrize(
    ("board", "mark"), [("XXX......", "X"), ("XOXOXOOXO", "-"), ("." * 9, ""), ("O..O..O..", "O")]
)
def test_who_has_won(board: str, mark: str) -> None:
    from hisock.examples.tictactoe import winner

    assert winner(board) == mark
