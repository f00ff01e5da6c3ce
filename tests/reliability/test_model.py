"""Clients do at random what clients do, all at once, and a model knows what each has to be told.

Hypothesis chooses what happens to a live server: clients that connect, talk, rename themselves,
move to other groups, leave, are cut off or send garbage, over several raw connections, without
waiting for each other. The order in which the server took it all is what its handlers wrote down.
From that follows, frame by frame, what every client must have received: each announcement and each
echo, once and in order, and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support import Events, Peer, command_frame, frame
from support.wire import Closed

import hisock
from hisock._runtime.loops import fast_loop_module

from .modelled import GARBAGE, GROUPS, NAMES, ROOMS, Client, readable

MOST_CLIENTS = 6
LOOPS = ["asyncio"] if fast_loop_module() is None else ["asyncio", "uvloop"]


class LiveServer(RuleBasedStateMachine):
    """One server per example; see the module's text."""

    @initialize(
        loop=st.sampled_from(LOOPS),
        announce=st.sampled_from(["all", "group", "none"]),
        window=st.sampled_from([0, 0.02, 60]),
    )
    def start(self, loop: Any, announce: Any, window: float) -> None:
        self.announce = announce
        self.clients: list[Client] = []
        self.log = Events()
        self.marks = 0
        self.sent = 0
        # The model knows no keepalives, which come where a busy machine takes its time.
        self.server = hisock.ThreadedHiSockServer(
            ("127.0.0.1", 0),
            max_message_size=4096,
            loop=loop,
            announce=announce,
            keepalive=False,
        )
        # What is gathered for a minute is received in order with all else, as what comes at once.
        self.server._hub.announcements.window = window
        self._wire()
        self.server.start()

    def _wire(self) -> None:
        server, log = self.server, self.log

        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            log.add(client.ip, "join", client.name, client.group)

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            log.add(client.ip, "leave", client.name, client.group)

        @server.on("name_change")
        def name_change(client: hisock.ClientInfo, old: str | None, new: str | None) -> None:
            log.add(client.ip, "name", old, new)

        @server.on("group_change")
        def group_change(client: hisock.ClientInfo, old: str | None, new: str | None) -> None:
            log.add(client.ip, "group", old, new)

        @server.on("echo")
        def echo(client: hisock.ClientInfo, message: str) -> None:
            log.add(client.ip, "echo", client.name, client.group, message)
            server.send_client(client, "echo", message)

        @server.on("shout")
        def shout(client: hisock.ClientInfo, message: str) -> None:
            log.add(client.ip, "shout", message)
            server.send_all_clients("shout", message)

        @server.on("whisper")
        def whisper(client: hisock.ClientInfo, message: str) -> None:
            log.add(client.ip, "whisper", client.group, message)
            if client.group is not None:
                server.send_group(client, "whisper", message)

        @server.on("enter")
        def enter(client: hisock.ClientInfo, message: str) -> None:
            log.add(client.ip, "enter", message)
            server.join_room(client, message)

        @server.on("go")
        def go(client: hisock.ClientInfo, message: str) -> None:
            log.add(client.ip, "go", message)
            server.leave_room(client, message)

        @server.on("call")
        def call(client: hisock.ClientInfo, message: str) -> None:
            room, number = message.split()
            log.add(client.ip, "call", room, number)
            server.send_room(room, "call", number)

        @server.on("mark")
        def mark(client: hisock.ClientInfo, message: str) -> None:
            server.send_client(client, "mark", message)

    # -- what clients do; nothing here waits for the server

    def _active(self) -> list[Client]:
        return [client for client in self.clients if not client.ending]

    def _pick(self, data: st.DataObject) -> Client:
        return data.draw(st.sampled_from(self._active()), label="client")

    def _next(self) -> str:
        self.sent += 1
        return str(self.sent)

    @precondition(lambda self: len(self._active()) < MOST_CLIENTS)
    @rule(name=NAMES, group=GROUPS)
    def connect(self, name: str | None, group: str | None) -> None:
        peer = Peer(self.server.addr)
        peer.hello(name, group)
        client = Client(peer, (name, group), name, group)
        client.want("join", name, group)
        self.clients.append(client)

    @rule(name=NAMES, group=GROUPS)
    def come_and_go(self, name: str | None, group: str | None) -> None:
        """Join, speak and leave, all in one packet."""
        peer = Peer(self.server.addr)
        client = Client(peer, (name, group), name, group)
        client.want("join", name, group)
        number = self._next()
        client.want("shout", number)
        hello = json.dumps({"name": name, "group": group}).encode()
        peer.write(
            frame(b"$CLTHELLO$" + hello) + command_frame("shout", number) + frame(b"$USRCLOSE$")
        )
        self.clients.append(client)
        self._end(client)

    @rule(start=st.binary(max_size=30), garbage=st.booleans())
    def connect_without_a_hello(self, start: bytes, garbage: bool) -> None:
        """Nobody hears of it. Half a header, or what is no hello, and then the end."""
        with Peer(self.server.addr) as peer:
            peer.write(frame(start) if garbage else frame(b"x" * 100)[: len(start)])

    @precondition(lambda self: self._active())
    @rule(data=st.data(), count=st.integers(1, 5))
    def talk(self, data: st.DataObject, count: int) -> None:
        """Some commands in one packet."""
        client = self._pick(data)
        packet = b""
        for _ in range(count):
            kind = data.draw(st.sampled_from(["echo", "shout", "whisper"]))
            number = self._next()
            packet += command_frame(kind, number)
            if kind == "echo":
                client.want(kind, client.name, client.group, number)
            elif kind == "shout":
                client.want(kind, number)
            else:
                client.want(kind, client.group, number)
        client.peer.write(packet)

    @precondition(lambda self: self._active())
    @rule(data=st.data(), act=st.sampled_from(["enter", "go", "call", "call"]), room=ROOMS)
    def use_a_room(self, data: st.DataObject, act: str, room: str) -> None:
        client = self._pick(data)
        told = (room, self._next()) if act == "call" else (room,)
        client.peer.send(act, " ".join(told))
        client.want(act, *told)

    @precondition(lambda self: self._active())
    @rule(data=st.data(), name=NAMES)
    def rename(self, data: st.DataObject, name: str | None) -> None:
        client = self._pick(data)
        old, client.name = client.name, name or client.joined_with[0]
        client.peer.reserved("CHNAME", name or "")
        client.want("name", old, client.name)

    @precondition(lambda self: self._active())
    @rule(data=st.data(), group=GROUPS)
    def regroup(self, data: st.DataObject, group: str | None) -> None:
        client = self._pick(data)
        old, client.group = client.group, group or client.joined_with[1]
        client.peer.reserved("CHGROUP", group or "")
        client.want("group", old, client.group)

    def _end(self, client: Client) -> None:
        client.want("leave", client.name, client.group)
        client.ending = True

    @precondition(lambda self: self._active())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        client = self._pick(data)
        client.peer.reserved("USRCLOSE")
        self._end(client)

    @precondition(lambda self: self._active())
    @rule(data=st.data(), inside=st.integers(0, 40))
    def cut(self, data: st.DataObject, inside: int) -> None:
        """The connection ends at any byte of a frame, before or behind it."""
        client = self._pick(data)
        number = self._next()
        whole = command_frame("echo", number)
        client.peer.write(whole[:inside])
        if inside >= len(whole):
            client.want("echo", client.name, client.group, number)
        client.peer.end_writing()
        self._end(client)
        client.cut = True

    @precondition(lambda self: self._active())
    @rule(data=st.data(), garbage=GARBAGE)
    def send_garbage(self, data: st.DataObject, garbage: bytes) -> None:
        """What comes behind the garbage is not handled."""
        client = self._pick(data)
        client.peer.write(garbage + command_frame("echo", "behind garbage"))
        self._end(client)

    @precondition(lambda self: self._active())
    @rule(data=st.data(), inside=st.integers(0, 20))
    def reset(self, data: st.DataObject, inside: int) -> None:
        """A reset throws away what the server has not read yet, so this one waits for that."""
        client = self._pick(data)
        self._catch_up(client)
        client.peer.write(command_frame("echo", "never")[:inside])
        client.peer.reset()
        self._end(client)
        client.gone = client.cut = True

    @precondition(lambda self: self._active())
    @rule(data=st.data(), force=st.booleans())
    def kick(self, data: st.DataObject, force: bool) -> None:
        """From another thread. What the client sends meanwhile may come too late, so it waits."""
        client = self._pick(data)
        self._catch_up(client)
        self.server.disconnect_client(client.ip, force=force, call_func=True)
        self._end(client)

    # -- what has to have happened

    def _catch_up(self, client: Client) -> None:
        """Read until the server has handled all that the client sent."""
        self.marks += 1
        number = str(self.marks)
        client.peer.send("mark", number)
        while True:
            got = client.peer.read()
            if got.command == "mark" and got.message == number.encode():
                return
            client.received.append(got)

    @rule()
    def settle(self) -> None:
        """Wait until all is done that was asked for, then compare."""
        for client in self._active():
            self._catch_up(client)
        for client in self.clients:
            if client.ending:
                self.log.wait_for(client.ip, "leave")
                self._read_to_the_end(client)
        # Now nothing happens any more, and what was announced stands before this second mark.
        for client in self._active():
            self._catch_up(client)
        self._compare_order()
        self._compare_members()
        for client in self.clients:
            self._compare_received(client)

    def _read_to_the_end(self, client: Client) -> None:
        if client.gone:
            return
        try:
            while True:
                client.received.append(client.peer.read())
        except Closed:
            client.peer.close()
        client.gone = True

    def _compare_order(self) -> None:
        """The server took what each client did, all of it, in the order the client did it."""
        log = self.log.seen
        for client in self.clients:
            assert [event[1:] for event in log if event[0] == client.ip] == client.wanted
        assert len(log) == sum(len(client.wanted) for client in self.clients)

    def _compare_members(self) -> None:
        active = self._active()
        assert len(self.server) == len(active)
        for client in active:
            info = self.server.get_client(client.ip)
            assert (info.name, info.group) == (client.name, client.group)
        for group in ("red", "blue"):
            wanted = {client.ip for client in active if client.group == group}
            try:
                found = {info.ip for info in self.server.get_group(group)}
            except hisock.utils.GroupNotFound:
                found = set()
            assert found == wanted

    def _compare_received(self, client: Client) -> None:
        """It was told what the order of things says, to the last frame."""
        wanted, certain = self._told(client)
        got = [readable(frame) for frame in client.received]
        if client.ending and got[-1:] == [("DISCONN",)]:
            got.pop()
        if client.cut:
            wanted = wanted[: max(certain, len(got))]
        assert got == wanted, client

    def _told(self, client: Client) -> tuple[list[tuple[Any, ...]], int]:
        """What it was told, and how much of that before the last thing that it did itself."""
        told: list[tuple[Any, ...]] = []
        certain = 0
        groups: dict[str, str | None] = {}
        rooms: set[str] = set()  # those that it is in itself
        for ip, event, *rest in self.log.seen:
            if event == "join" or event == "group":
                groups[ip] = rest[1]
            elif event == "leave":
                del groups[ip]
                if ip == client.ip:
                    break
            elif ip == client.ip and event == "enter":
                rooms.add(rest[0])
            elif ip == client.ip and event == "go":
                rooms.discard(rest[0])
            if client.ip not in groups:
                continue
            if event in ("join", "leave"):
                group = rest[1]
                near = group is not None and group == groups[client.ip]
                if self.announce == "all" or (self.announce == "group" and near):
                    told.append((event, ip, *rest))
            elif (
                (event == "echo" and ip == client.ip)
                or event == "shout"
                or (event == "call" and rest[0] in rooms)
                or (event == "whisper" and rest[0] is not None and groups[client.ip] == rest[0])
            ):
                told.append((event, rest[-1]))
            if ip == client.ip:
                certain = len(told)
        return told, certain

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        try:
            self.settle()
        finally:
            for client in self.clients:
                client.peer.close()
            self.server.close()


LiveServer.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# On a busy machine, generating the steps takes as long as running them.
TestLiveServer = pytest.mark.timeout(180)(LiveServer.TestCase)
