"""The players of one process: real clients, driven by one selector loop.

One Python process drives many clients because none of them waits: the selector says which ones
have something to read, and :meth:`~hisock.HiSockClient.update` handles just that.
"""

from __future__ import annotations

import contextlib
import json
import queue
import selectors
import sys
from collections import Counter
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns

from hisock import ConnectionLost, HiSockClient
from hisock._cli.demo.control import allow_open_files, listen, say
from hisock._cli.demo.moves import LAST, MOVE, RETURNED, Histogram, Ledger, Move, wander

#: Seconds of silence after which moves that have not arrived are not waited for any longer.
PATIENCE = 5.0


@dataclass(frozen=True)
class Roster:
    """Who plays where.

    :ivar players: how many in the whole game.
    :ivar rooms_of: how many to a room; the last room may have fewer.
    :ivar processes: how many processes share them. Neighbours play in different processes.
    """

    players: int
    rooms_of: int
    processes: int

    def of_process(self, index: int) -> range:
        return range(index, self.players, self.processes)

    def room_of(self, player: int) -> int:
        return player // self.rooms_of

    def members(self, room: int) -> range:
        first = room * self.rooms_of
        return range(first, min(first + self.rooms_of, self.players))

    @property
    def rooms(self) -> int:
        return self.room_of(self.players - 1) + 1


class Player:
    """One client that moves, and listens to its room.

    :ivar descriptor: that of its socket, while the crowd waits for it; else ``None``.
    :ivar returned: when it came back after its connection was cut, in nanoseconds as in a
        :class:`Move`; ``None`` if it never was.
    """

    def __init__(self, client: HiSockClient, number: int, room: int, members: range) -> None:
        self.client = client
        self.number = number
        self.room = room
        self.ledger = Ledger(members)
        self.sent = 0
        self.latencies: list[int] = []
        self.descriptor: int | None = None
        self.returned: int | None = None
        self._flags = 0
        client.on("move")(self.hear)
        client.on("reconnect")(self.come_back)

    def come_back(self) -> None:
        self.returned = perf_counter_ns()
        self.ledger.was_cut()
        self._flags = RETURNED

    def move(self, flags: int = 0) -> None:
        place = wander(self.number, self.sent)
        flags |= self._flags
        step = Move(self.room, self.number, self.sent, flags, perf_counter_ns(), *place)
        self.client.send("move", step.pack())
        self.sent += 1
        self._flags = 0

    def hear(self, message: bytes) -> None:
        _room, player, sequence, flags, sent, _x, _y = MOVE.unpack(message)
        self.latencies.append(perf_counter_ns() - sent)
        self.ledger.note(player, sequence, flags)


class Crowd:
    """All players of one process.

    :param rate: moves a second of each player.
    :param reconnect: whether they come back when their connection is cut.
    """

    def __init__(
        self,
        address: tuple[str, int],
        roster: Roster,
        index: int,
        rate: float,
        reconnect: bool = False,
    ) -> None:
        self.rate = rate
        self.players: list[Player] = []
        self._away: set[Player] = set()
        self._selector = selectors.DefaultSelector()
        for number in roster.of_process(index):
            room = roster.room_of(number)
            name = f"player-{number}"
            client = HiSockClient(address, name, f"room-{room}", reconnect=reconnect)
            player = Player(client, number, room, roster.members(room))
            self.players.append(player)
            self._wait_for(player)

    def _wait_for(self, player: Player) -> None:
        player.descriptor = player.client.fileno()
        self._selector.register(player.descriptor, selectors.EVENT_READ, player)

    def _watch(self, player: Player) -> None:
        """Look after its connection, whenever it has been used."""
        if player.client.connected or player.descriptor is None:
            return
        # At once, since the number may be that of another player's socket next.
        self._selector.unregister(player.descriptor)
        player.descriptor = None
        if not player.client.closed:
            self._away.add(player)

    def _look_for_returned(self) -> None:
        for player in list(self._away):
            before = player.returned
            with contextlib.suppress(ConnectionLost):
                player.client.update()
            if player.client.closed:
                self._away.discard(player)
            elif player.returned != before and player.client.connected:
                self._away.discard(player)
                self._wait_for(player)

    def listen(self, timeout: float) -> int:
        """Handle what has arrived, after waiting up to ``timeout`` seconds for it.

        :returns: how many players had something to read.
        """
        ready = self._selector.select(min(timeout, 0.02) if self._away else timeout)
        for key, _events in ready:
            player: Player = key.data
            with contextlib.suppress(ConnectionLost):
                player.client.update()
            self._watch(player)
        self._look_for_returned()
        return len(ready)

    def play(self, words: queue.SimpleQueue[str]) -> str:
        """Move at the rate, spread evenly over time, until a word other than ``counts`` comes."""
        step = 1 / (self.rate * len(self.players))
        start = perf_counter()
        turns = 0
        while True:
            word = self._next_word(words)
            if word is not None:
                return word
            # A process that is late catches up, but listens in between.
            due = min(int((perf_counter() - start) / step) + 1, turns + len(self.players))
            for turn in range(turns, due):
                self._let_move(self.players[turn % len(self.players)])
            turns = due
            self.listen(max(0.0, start + turns * step - perf_counter()))

    def finish(self, words: queue.SimpleQueue[str]) -> None:
        """Make everybody's last move, and listen until all of their rooms have made theirs."""
        for player in self.players:
            self._let_move(player, LAST)
        silent_since = perf_counter()
        while not all(player.ledger.complete for player in self.players):
            self._next_word(words)
            if self.listen(0.1):
                silent_since = perf_counter()
            elif perf_counter() - silent_since > PATIENCE:
                return

    def _let_move(self, player: Player, flags: int = 0) -> None:
        # One that was cut off does not end the game; it is counted at the end.
        if player.descriptor is not None:
            with contextlib.suppress(ConnectionLost):
                player.move(flags)
            self._watch(player)

    def _next_word(self, words: queue.SimpleQueue[str]) -> str | None:
        """The next word of the director; ``counts`` is answered at once."""
        try:
            word = words.get_nowait()
        except queue.Empty:
            return None
        if word != "counts":
            return word
        self.tell_counts("counts")
        return None

    def tell_counts(self, kind: str) -> None:
        """Report to the director; latencies are those since the last report."""
        sent: Counter[int] = Counter()
        latencies = Histogram()
        for player in self.players:
            sent[player.room] += player.sent
            latencies.add(player.latencies)
            player.latencies.clear()
        ledgers = [player.ledger for player in self.players]
        say(
            kind,
            sent=list(sent.items()),
            heard=sum(ledger.heard for ledger in ledgers),
            disordered=sum(ledger.disordered for ledger in ledgers),
            misdirected=sum(ledger.misdirected for ledger in ledgers),
            cut_off=sum(player.descriptor is None for player in self.players),
            cut=sum(ledger.cut for ledger in ledgers),
            returned=[player.returned for player in self.players if player.returned is not None],
            latencies=latencies.pairs(),
        )

    def leave(self) -> None:
        for player in self.players:
            player.client.close()
        self._selector.close()


def main(argument: str) -> None:
    settings = json.loads(argument)
    roster = Roster(settings["players"], settings["rooms_of"], settings["processes"])
    words: queue.SimpleQueue[str] = queue.SimpleQueue()
    listen(words.put)
    allow_open_files(len(roster.of_process(settings["index"])))
    host = "127.0.0.1" if settings["host"] == "0.0.0.0" else settings["host"]
    crowd = Crowd(
        (host, settings["port"]), roster, settings["index"], settings["rate"], settings["reconnect"]
    )
    try:
        say("joined")
        if words.get() == "go" and crowd.play(words) == "finish":
            crowd.finish(words)
            crowd.tell_counts("done")
            words.get()
    finally:
        crowd.leave()


if __name__ == "__main__":
    main(sys.argv[1])
