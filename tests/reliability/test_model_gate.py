"""Decisions that wait at a gate, on real sockets and both loops, while clients come and end.

What ``test_model_decisions.py`` tries in memory, with ``unique_names`` and several clients that do
not wait for the server, and beside it what is sent to many (``send_many``, ``volatile=``,
``latest=``), rooms, and calls that clients make and cancel. Whatever the order: what a client sent
is handled in order, what is sent to it comes once and in order or is counted, each change is
confirmed once, each call is answered or fails once, no name has two clients, and nothing is kept
of a client that has gone.

``python -m soak.model`` runs it for minutes; ``python -m soak.faults`` shows what it finds.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support import Frame, Peer, command_frame, frame
from support.polling import eventually
from support.wire import Closed

import hisock

from .gated import FREE_NAMES, LET_IN, REFUSED_NAMES, ROOMS, TOKENS, GatedServer
from .watching import LOOPS

MOST_CLIENTS = 6
WHICH = st.integers(0, MOST_CLIENTS - 1)
FEATURES = ["call", "reject", "errors", "cancel", "names"]


@dataclass(eq=False)
class Caller:
    """One raw connection: what it did, and what it received.

    :ivar ending: whether it has done, or was done, what may end it.
    :ivar whole: whether nothing that happened may have ended it.
    """

    peer: Peer
    name: str | None
    token: str
    secret: str | None
    sent: list[str] = field(default_factory=list)
    changes: int = 0
    calls: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    rooms: set[str] = field(default_factory=set)
    received: list[Frame] = field(default_factory=list)
    ending: bool = False
    gone: bool = False
    whole: bool = True

    def got(self, command: str) -> list[str]:
        return [(f.message or b"").decode() for f in self.received if f.command == command]

    def replies(self) -> list[str]:
        return [f.data.decode() for f in self.received if f.reserved == "REPLY"]

    def confirmed(self) -> list[str]:
        return [f.data.decode() for f in self.received if f.reserved == "CHNAME"]


class Gated(RuleBasedStateMachine):
    """One server per example; see the module's text."""

    @initialize(loop=st.sampled_from(LOOPS))
    def start(self, loop: str) -> None:
        self.gated = GatedServer(loop)
        self.server, self.log = self.gated.server, self.gated.log
        self.clients: list[Caller] = []
        self.numbers = 0
        for name in (None, None, "ann"):
            self._connect(name, "now", None, False)

    def _active(self) -> list[Caller]:
        return [client for client in self.clients if not client.ending]

    def _pick(self, which: int) -> Caller | None:
        """The same numbers are drawn whichever clients were refused or replaced by now."""
        active = self._active()
        return active[which % len(active)] if active else None

    def _next(self, suffix: str = "") -> str:
        self.numbers += 1
        return f"{self.numbers}{suffix}"

    # -- what happens; nothing here waits for the server

    @rule(
        name=st.sampled_from([None, *FREE_NAMES]),
        token=st.sampled_from([*LET_IN, *LET_IN, *TOKENS]),
        secret=st.sampled_from([None, None, "s1", "s2"]),
        cut=st.sampled_from([False, False, False, True]),
    )
    def come(self, name: str | None, token: str, secret: str | None, cut: bool) -> None:
        """With a secret, it may be one that comes back; ``cut`` while it is being decided about."""
        if len(self._active()) < MOST_CLIENTS:
            self._connect(name, token, secret, cut)

    def _connect(self, name: str | None, token: str, secret: str | None, cut: bool) -> None:
        client = Caller(Peer(self.server.addr), name, token, secret)
        hello = {"name": name, "group": "red", "features": FEATURES, "token": token}
        client.peer.reserved("CLTHELLO", json.dumps({**hello, "resume": secret}))
        for before in self.clients:
            if secret is not None and before.secret == secret:
                before.whole = False  # it is replaced, if this one is let in
        self.clients.append(client)
        # It may be refused its name, or replaced by one that said hello before it.
        client.whole = name is None and secret is None
        if token not in LET_IN:
            self._end(client)
        if cut:
            client.peer.reset()
            self._end(client)
            client.gone = True

    @rule(is_open=st.booleans())
    def move_the_gate(self, is_open: bool) -> None:
        (self.gated.open_gate if is_open else self.gated.shut_gate)()

    @rule(which=WHICH, kinds=st.lists(st.sampled_from(["say", "hint", "state"]), max_size=5))
    def send(self, which: int, kinds: list[str]) -> None:
        client = self._pick(which)
        if client is None:
            return
        packet = b""
        for kind in kinds:
            client.sent.append(self._next())
            packet += command_frame(kind, client.sent[-1])
        self._write(client, packet)

    @rule(which=WHICH, room=st.sampled_from(ROOMS))
    def enter(self, which: int, room: str) -> None:
        client = self._pick(which)
        if client is None:
            return
        client.rooms.add(room)
        self._write(client, command_frame("enter", room))

    @rule(which=WHICH, name=st.sampled_from(["", *FREE_NAMES, *FREE_NAMES, *REFUSED_NAMES]))
    def rename(self, which: int, name: str) -> None:
        client = self._pick(which)
        if client is None:
            return
        client.changes += 1
        self._write(client, frame(b"$CHNAME$" + name.encode()))

    @rule(which=WHICH)
    def rename_that_kicks(self, which: int) -> None:
        """The program disconnects the client while it decides, and then says yes."""
        client = self._pick(which)
        if client is None:
            return
        self._write(client, frame(b"$CHNAME$out"))
        self._end(client)

    @rule(
        which=WHICH,
        kind=st.sampled_from(["plain", "slow", "fails", "missing"]),
        cancel=st.booleans(),
    )
    def call(self, which: int, kind: str, cancel: bool) -> None:
        client = self._pick(which)
        if client is None:
            return
        number = self._next()
        client.calls[number] = kind
        packet = frame(f"$CALL${number}$CMD${kind}$MSG${number}".encode())
        if kind != "missing" and not cancel:
            client.sent.append(number)
        if cancel:
            client.cancelled.add(number)
            packet += frame(f"$CANCEL${number}".encode())
        self._write(client, packet)

    @rule(which=WHICH, ignored=st.booleans())
    def be_called(self, which: int, ignored: bool) -> None:
        client = self._pick(which)
        if client is None:
            return
        client.sent.append(self._next("ignored" if ignored else ""))
        self._write(client, command_frame("ask me", client.sent[-1]))

    @rule(which=WHICH, force=st.booleans())
    def kick(self, which: int, force: bool) -> None:
        """Whatever it does at the moment, and whether or not it has joined."""
        client = self._pick(which)
        if client is None:
            return
        with contextlib.suppress(hisock.ClientNotFound):
            self.server.disconnect_client(client.peer.ip, force=force, call_func=True)
            self._end(client)

    @rule(which=WHICH, how=st.sampled_from(["leave", "end", "reset"]))
    def leave(self, which: int, how: str) -> None:
        client = self._pick(which)
        if client is None:
            return
        self._end(client)
        if how == "reset":
            client.peer.reset()
            client.gone = True
        elif how == "end":
            with contextlib.suppress(OSError):  # it was refused or replaced
                client.peer.end_writing()
        else:
            self._write(client, frame(b"$USRCLOSE$"))

    def _end(self, client: Caller) -> None:
        client.ending, client.whole = True, False

    def _write(self, client: Caller, packet: bytes) -> None:
        try:
            client.peer.write(packet)
        except OSError:  # it was refused or replaced
            assert not client.whole
            self._end(client)

    # -- what has to have happened

    @rule()
    def settle(self) -> None:
        self.gated.open_gate()
        for client in self.clients:
            self._read_on(client)
        # What one did may have been sent to those before it, or have replaced one of them.
        for client in self._active():
            self._read_on(client)
        active = self._active()
        for client in active:
            client.whole = True
        # One that was reset may still be let in, for the frames that came before.
        let_go = "those that have gone are let go of"
        eventually(lambda: self.server.stats().connections <= len(active), let_go)
        for client in self.clients:
            joined = (client.peer.ip, "join") in [event[:2] for event in self.log.seen]
            if client.gone and joined:
                self.log.wait_for(client.peer.ip, "leave")
        # Of a client that was reset, more may have been handled until it had left.
        asked = [(e[0], e[2]) for e in self.log.seen if e[1] == "asked"]
        for ip, number in asked:
            self.log.wait_for(ip, "outcome", number)
        for client in self.clients:
            self._compare(client)
        self._compare_members()
        self._compare_counts()

    def _read_on(self, client: Caller) -> None:
        """Read to the end, or until all is there that was under way, and answer calls."""
        if client.gone:
            return
        last = ""
        try:
            if not client.ending:
                for _ in range(2):  # a call that the first mark's turn began is before the second
                    last = self._next("mark")
                    client.peer.send("mark", last)
                    self._read_to(client, last)
            else:
                self._read_to(client, None)
        except (Closed, OSError):
            client.gone = client.ending = True
            client.peer.close()
            assert not client.whole, f"{client} was disconnected"

    def _read_to(self, client: Caller, mark: str | None) -> None:
        while True:
            got = client.peer.read()
            if mark is not None and got.command == "mark" and got.message == mark.encode():
                return
            client.received.append(got)
            if got.reserved == "CALL":
                number, _, message = got.data.decode().partition("$CMD$answer$MSG$")
                if not message.endswith("ignored"):
                    with contextlib.suppress(OSError):
                        client.peer.raw(f"$REPLY${number}$MSG${message}".encode())

    def _compare(self, client: Caller) -> None:
        ip = client.peer.ip
        log = self.log.seen
        mine = [event[1:] for event in log if event[0] == ip]
        joins = [event for event in mine if event[0] == "join"]
        assert len(joins) <= (client.token in LET_IN), "it was let in twice, or against a refusal"
        assert all(event[-1] for event in mine if event[0] in ("join", "name")), "one name, two"
        assert [e[0] for e in mine].count("leave") == (bool(joins) and client.gone)
        done = [e[1] for e in mine if e[0] in ("say", "hint", "state", "called", "asked")]
        done = [number for number in done if number not in client.cancelled]
        assert done == client.sent[: len(done)], "handled in another order, or twice"
        assert client.gone or done == client.sent
        asked = [event[1] for event in mine if event[0] == "asked"]
        outcomes = [event[1:] for event in mine if event[0] == "outcome"]
        assert Counter(number for number, _ in outcomes) == Counter(asked)
        for number, outcome in outcomes:
            expected = "timeout" if number.endswith("ignored") else number
            assert outcome == expected or (client.gone and outcome in ("lost", "cancelled"))
        self._compare_received(client)

    def _compare_received(self, client: Caller) -> None:
        ip, log = client.peer.ip, self.log.seen
        wanted = [e[2] for e in log if e[1] == "say" and ip in e[3]]
        said = client.got("said")
        assert said == (wanted[: len(said)] if client.gone else wanted)
        # What each may have been sent is in the log in this order; states are left out of it.
        for kind in ("hint", "state"):
            places = {event[2]: i for i, event in enumerate(log) if event[1] == kind}
            got = [places[number] for number in client.got(kind)]
            assert got == sorted(set(got)), f"{kind}: twice, or in another order"
        states = [e[2] for e in log if e[1] == "state" and ip in e[3]]
        assert set(client.got("state")) <= set(states)
        if states and not client.gone:
            assert client.got("state")[-1:] == states[-1:], "the newest state is missing"
        replies = Counter(text.partition("$")[0] for text in client.replies())
        assert not replies or max(replies.values()) == 1, "answered twice"
        assert set(replies) <= set(client.calls)
        for text in client.replies():
            number, _, rest = text.partition("$")
            fails = client.calls[number] in ("fails", "missing")
            assert rest.startswith("ERR$") if fails else rest == f"MSG${number}"
        if not client.gone:
            assert set(client.calls) - client.cancelled <= set(replies), "never answered"
            assert len(client.confirmed()) == client.changes, "a change is confirmed once"

    def _compare_members(self) -> None:
        active = {client.peer.ip: client for client in self._active()}
        eventually(lambda: set(self.server.get_all_clients("ip")) == set(active), "no ghosts")
        names = {info.name: ip for ip in active if (info := self.server.get_client(ip)).name}
        for ip, client in active.items():
            told = client.confirmed()[-1:] or [client.name or ""]
            assert self.server.get_client(ip).name == (told[0] or None)
            assert self.server.rooms(ip) == client.rooms
        for name in FREE_NAMES:
            try:
                assert self.server.get_client(name).ip == names[name]
            except hisock.ClientNotFound:
                assert name not in names
        for room in ROOMS:
            inside = {ip for ip, client in active.items() if room in client.rooms}
            assert {info.ip for info in self.server.get_room(room)} == inside

    def _compare_counts(self) -> None:
        """As many got it as it was sent to, but for some of those that have gone."""
        gone = sum(client.gone for client in self.clients)
        for command, kind in (("said", "say"), ("hint", "hint")):
            received = Counter(number for client in self.clients for number in client.got(command))
            for event in self.log.seen:
                if event[1] == kind:
                    assert received[event[2]] <= event[-1] <= received[event[2]] + gone

    def teardown(self) -> None:
        if not hasattr(self, "clients"):
            return
        try:
            self.settle()
            for client in self._active():
                client.peer.close()
            nothing = {key: type(value)() for key, value in self.gated.remains().items()}
            eventually(lambda: self.gated.remains() == nothing, "nothing remains of the gone")
        finally:
            self.gated.open_gate()
            for client in self.clients:
                client.peer.close()
            self.server.close()


Gated.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=os.environ.get("HISOCK_MODEL") == "fails",
    database=None,
    phases=(Phase.generate,) if os.environ.get("HISOCK_MODEL") == "fails" else tuple(Phase),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestGated = pytest.mark.timeout(180)(Gated.TestCase)
