"""The blocking and the threaded client against a model: whatever happens, in any order.

The server is played by hand over socket pairs. Connections are cut only by the test's own thread,
and everything that was written before is read first; so the model knows exactly what must arrive.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import Events
from support.events import PATIENCE

import hisock
from hisock._client.blocking_driver import BlockingDriver
from hisock._client.options import ClientOptions
from hisock.exceptions import ServerNotRunning
from hisock.framing import Decoder, build_command, build_raw

from .scripted import MODEL, STEPS, answer

AWAY = (hisock.ConnectionLost, hisock.ClientDisconnected)
BlockingKind = Literal["plain", "threaded"]
SHORT = 0.001


class Server:
    """The server's end of one connection.

    :ivar gone: whether the connection was cut on this side.
    """

    def __init__(self, sock: socket.socket, events: Events) -> None:
        self._sock = sock
        self._events = events
        self._writing = threading.Lock()
        # A server says hello before anything else.
        self._greeted = threading.Event()
        self.gone = False
        self.left = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        decoder = Decoder()
        with contextlib.suppress(ConnectionError):
            while data := self._sock.recv(65536):
                for command, payload in decoder.feed(data):
                    self._take(command, payload or b"")
        self._sock.close()

    def _take(self, command: str | None, payload: bytes) -> None:
        if command is not None:
            self._events.add("told", int(payload))
            return
        self.left = self.left or payload == b"$USRCLOSE$"
        said = answer(payload)
        if said is not None:
            with contextlib.suppress(ConnectionError):
                self._write(build_raw(said))
            self._greeted.set()

    def _write(self, frame: bytes) -> None:
        with self._writing:
            self._sock.sendall(frame)

    def send(self, command: str, number: int) -> None:
        assert self._greeted.wait(PATIENCE)
        self._write(build_command(command, str(number).encode()))

    def lose(self) -> None:
        """Take nothing more; what has been taken counts."""
        self.gone = True
        with contextlib.suppress(OSError):  # the client has closed
            self._sock.shutdown(socket.SHUT_RD)
        self.ended()

    def kick(self) -> None:
        assert self._greeted.wait(PATIENCE)
        self._write(build_raw(b"$DISCONN$"))
        self.lose()

    def ended(self) -> None:
        """Wait until the client's side is closed, and all that it wrote has been read."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the client has not closed its connection"


class Connector:
    """Connects to such servers.

    :ivar troubles: what the next attempts meet, in order.
    """

    addr = "a pair"

    def __init__(self, events: Events) -> None:
        self._events = events
        self.servers: list[Server] = []
        self.troubles: list[str] = []

    def open(self, timeout: float | None) -> socket.socket:
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble == "nobody listens":
            raise ServerNotRunning("nobody listens")
        ours, theirs = socket.socketpair()
        if trouble == "hangs up":
            theirs.close()
        else:
            self.servers.append(Server(theirs, self._events))
        return ours

    async def attach(self, protocol: Any) -> None:
        raise NotImplementedError


class World:
    """A client, the servers that it meets, and what the model expects of it."""

    def __init__(self, kind: BlockingKind) -> None:
        self.kind = kind
        self.seen = Events()
        self.connector = Connector(self.seen)
        self.sent: list[int] = []
        self.unhandled: list[int] = []
        self.received: list[int] = []
        self.tells: list[int] = []
        self.expected: list[str] = []
        self.kicked = False
        self._number = 0
        self._waiting: list[threading.Thread] = []
        self._outcomes: list[Exception] = []
        options = ClientOptions(
            name="Ada",
            group=None,
            header_len=16,
            cache_size=-1,
            max_message_size=1 << 20,
            timeout=PATIENCE,
            codec="json",
            token=None,
            reconnect=hisock.Reconnect(initial=SHORT, maximum=SHORT, factor=1, jitter=0),
            offline_buffer=1 << 20,
        )
        self.driver = BlockingDriver(self.connector, options)
        cls = hisock.HiSockClient if kind == "plain" else hisock.ThreadedHiSockClient
        self.client = client = cls.__new__(cls)
        client._driver = self.driver
        client.on("plain")(lambda number: self.seen.add("plain", int(number)))
        for event in ("force_disconnect", "reconnect"):
            client.on(event)(partial(self.seen.add, "event", event))
        client.on("disconnect")(lambda reason: self.seen.add("event", "disconnect"))
        if kind == "threaded":
            client.start()

    @property
    def server(self) -> Server:
        return self.connector.servers[-1]

    @property
    def online(self) -> bool:
        """Whether there is a connection, and nothing that could end it is under way."""
        return bool(self.client.connected) and not self.server.gone

    # -- steps

    def step(self, step: str) -> None:
        getattr(self, "_" + step.replace(" ", "_"))()

    def _send(self, command: str, into: list[int]) -> None:
        if self.online:
            self._number += 1
            into.append(self._number)
            self.server.send(command, self._number)

    def _plain(self) -> None:
        self._send("plain", self.sent)

    def _unhandled(self) -> None:
        self._send("unhandled", self.unhandled)

    def _recv(self) -> None:
        with contextlib.suppress(TimeoutError, *AWAY):
            self.received.append(self.client.recv("unhandled", int, SHORT))

    def _recv_now(self) -> None:
        """A frame that comes while the client itself reads is always received."""
        if self.online and self.kind == "plain" and not self._waiting:
            self._unhandled()
            self.received.append(self.client.recv("unhandled", int, PATIENCE))

    def _answered(self) -> None:
        with self._allowed():
            assert self.client.call("answered", timeout=PATIENCE) is None

    def _ignored(self) -> None:
        with self._allowed(TimeoutError):
            self.client.call("ignored", timeout=SHORT)

    def _ask(self) -> None:
        with self._allowed(), contextlib.suppress(hisock.ClientNotFound):
            self.client.get_client("Bob", timeout=PATIENCE)

    def _allowed(self, *more: type[Exception]) -> Any:
        return contextlib.suppress(*more, *(() if self.online else AWAY))

    def _tell(self) -> None:
        """What is sent is kept until there is a connection; a server that kicks takes no more."""
        self._number += 1
        closed = self.client.closed
        try:
            self.client.send("tell", self._number)
        except hisock.ClientDisconnected:
            assert closed or self.kicked
            return
        assert not closed
        if not self.kicked:
            self.tells.append(self._number)

    def _wait(self) -> None:
        """A thread that waits until the connection ends; of a plain client, it reads."""

        def wait() -> None:
            try:
                self.client.call("ignored", timeout=None)
            except Exception as exc:
                self._outcomes.append(exc)

        if len(self._waiting) < 3:
            self._waiting.append(threading.Thread(target=wait, daemon=True))
            self._waiting[-1].start()

    def _update(self) -> None:
        if self.kind == "plain":
            self.client.update()

    def _nobody_listens(self) -> None:
        self.connector.troubles.append("nobody listens")

    def _hangs_up(self) -> None:
        self.connector.troubles.append("hangs up")

    def _lose(self) -> None:
        if self.online:
            self.expected += ["disconnect", "reconnect"]
            self.server.lose()

    def _kick(self) -> None:
        """What is kept until the client is back is sent before: the end would discard it."""
        if self.online:
            self._until(lambda: self.told == self.tells)
            self.kicked = True
            self.expected.append("force_disconnect")
            self.server.kick()

    def _settle(self) -> None:
        """Wait until the client has handled everything, and is back."""
        self._until(lambda: [event for (event,) in self.seen.named("event")] == self.expected)
        self._until(lambda: self.handled == self.sent)

    # -- the end

    @property
    def handled(self) -> list[int]:
        return [number for (number,) in self.seen.named("plain")]

    @property
    def told(self) -> list[int]:
        return [number for (number,) in self.seen.named("told")]

    def _until(self, condition: Callable[[], bool]) -> None:
        if self.kind == "threaded":
            self.seen.wait_until(lambda _: condition())
            return
        clock = threading.Event()
        for _ in range(int(PATIENCE / SHORT)):
            self.client.update()
            if condition():
                return
            clock.wait(SHORT)
        raise AssertionError(f"it did not come to that; seen: {self.seen.seen}")

    def end(self) -> None:
        """Let everything come to rest, and compare."""
        self._settle()
        assert self.client.closed is self.kicked
        assert self.client.connected is not self.kicked
        self._until(lambda: self.told == self.tells)
        self.close()
        assert self.handled == self.sent
        assert self.told == self.tells
        assert [event for (event,) in self.seen.named("event")] == self.expected

    def close(self) -> None:
        """Close, which ends everything at once, whoever waits."""
        online = self.online
        self.client.close()
        for thread in self._waiting:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "somebody still waits for a client that is closed"
        assert all(isinstance(outcome, AWAY) for outcome in self._outcomes)
        for server in self.connector.servers:
            server.ended()
        assert self.server.left or not online
        with pytest.raises(hisock.ClientDisconnected):
            self.client.send("tell", 0)
        assert self.received == sorted(set(self.received))
        assert set(self.received) <= set(self.unhandled)


EVERYTHING = [*STEPS, "recv now", "wait", "update", "settle", "lose", "nobody listens", "hangs up"]


@pytest.mark.parametrize("kind", ["plain", "threaded"])
@settings(MODEL, max_examples=60)
@given(st.lists(st.sampled_from([*EVERYTHING, "lose", "kick"]), min_size=8, max_size=40))
@example(["tell", "plain", "lose", "tell", "hangs up", "tell", "settle", "plain", "tell", "kick"])
@example(["wait", "plain", "unhandled", "lose", "tell", "settle", "wait", "wait", "recv", "kick"])
@example(["plain", "lose", "tell", "answered", "ask", "ignored", "settle", "lose", "settle"])
@example(["wait", "plain", "kick", "tell", "answered", "recv"])
def test_a_blocking_client_does_what_the_model_says(kind: BlockingKind, steps: list[str]) -> None:
    world = World(kind)
    for step in steps:
        world.step(step)
    world.end()


@pytest.mark.parametrize("kind", ["plain", "threaded"])
@settings(MODEL, max_examples=60)
@given(st.lists(st.sampled_from([*EVERYTHING, "kick"]), max_size=20))
@example(["lose"])
@example(["lose", "update", "nobody listens", "hangs up", "tell"])
@example(["wait", "wait", "lose", "tell"])
def test_a_blocking_client_can_be_closed_at_any_moment(
    kind: BlockingKind, steps: list[str]
) -> None:
    world = World(kind)
    for step in steps:
        world.step(step)
    world.close()
    handled = world.handled
    assert handled == world.sent[: len(handled)]
    assert world.told == world.tells[: len(world.told)]
    events = [event for (event,) in world.seen.named("event")]
    assert events == world.expected[: len(events)]
