"""The demo's book-keeping, without a network."""

from __future__ import annotations

import pytest

from hisock._cli.demo.moves import LAST, MOVE, RETURNED, Histogram, Ledger, Move
from hisock._cli.demo.players import Roster


def test_a_move_takes_32_bytes_and_comes_back_as_it_was() -> None:
    move = Move(3, 65, 12, LAST, 123_456_789_012, 1.5, -2.0)
    assert len(move.pack()) == 32
    assert Move(*MOVE.unpack(move.pack())) == move


def test_moves_in_order_are_all_heard() -> None:
    ledger = Ledger([1, 2])
    for sequence in range(3):
        ledger.note(1, sequence, 0)
        ledger.note(2, sequence, 0)
    assert (ledger.heard, ledger.missing, ledger.disordered, ledger.misdirected) == (6, 0, 0, 0)


def test_a_skipped_move_is_missing() -> None:
    ledger = Ledger([1])
    for sequence in (0, 1, 4):
        ledger.note(1, sequence, 0)
    assert (ledger.heard, ledger.missing) == (3, 2)


@pytest.mark.parametrize("sequences", [(0, 1, 1), (0, 2, 1)], ids=["repeated", "late"])
def test_a_repeated_or_late_move_is_out_of_order(sequences: tuple[int, ...]) -> None:
    ledger = Ledger([1])
    for sequence in sequences:
        ledger.note(1, sequence, 0)
    assert ledger.disordered == 1


def test_a_move_from_another_room_is_misdirected_and_not_heard() -> None:
    ledger = Ledger([1])
    ledger.note(7, 0, 0)
    assert (ledger.heard, ledger.misdirected) == (0, 1)


def test_a_ledger_is_complete_after_the_last_move_of_everybody() -> None:
    ledger = Ledger([1, 2])
    ledger.note(1, 0, LAST)
    assert not ledger.complete
    ledger.note(2, 0, 0)
    assert not ledger.complete
    ledger.note(2, 1, LAST)
    assert ledger.complete


def test_what_a_cut_connection_skips_is_counted_apart() -> None:
    ledger = Ledger([1, 2])
    for player in (1, 2):
        ledger.note(player, 0, 0)
    ledger.note(1, 3, RETURNED)  # the connection of player 1 was cut
    assert (ledger.heard, ledger.cut, ledger.missing) == (3, 2, 0)
    ledger.was_cut()  # that of the one who listens
    ledger.note(2, 5, 0)
    assert (ledger.heard, ledger.cut, ledger.missing) == (4, 6, 0)
    ledger.note(2, 7, 0)  # the next gap is a loss
    assert (ledger.heard, ledger.cut, ledger.missing) == (5, 6, 1)


def test_percentiles_are_upper_ends_of_steps() -> None:
    histogram = Histogram()
    histogram.add([1_000_000] * 98 + [5_000_000, 9_000_000])
    assert histogram.percentile(0.5) == pytest.approx(1.01)
    assert histogram.percentile(0.99) == pytest.approx(5.01)
    assert histogram.percentile(1.0) == pytest.approx(9.01)


def test_percentiles_of_nothing_are_none() -> None:
    assert Histogram().percentile(0.5) is None


def test_merged_histograms_are_one() -> None:
    first, second, together = Histogram(), Histogram(), Histogram()
    first.add([1_000, 2_000_000])
    second.add([1_000, 3_000_000])
    together.merge(first.pairs())
    together.merge(second.pairs())
    assert sorted(together.pairs()) == [(0, 2), (200, 1), (300, 1)]


@pytest.mark.parametrize(
    ("players", "rooms_of", "processes"), [(200, 20, 2), (7, 3, 4), (1, 20, 1)]
)
def test_every_player_is_in_one_process_and_one_room(
    players: int, rooms_of: int, processes: int
) -> None:
    roster = Roster(players, rooms_of, processes)
    driven = [number for index in range(processes) for number in roster.of_process(index)]
    assert sorted(driven) == list(range(players))
    housed = [number for room in range(roster.rooms) for number in roster.members(room)]
    assert housed == list(range(players))
    assert all(number in roster.members(roster.room_of(number)) for number in range(players))
