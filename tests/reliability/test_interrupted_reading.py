"""Ctrl-C while a blocking client reads: nothing is lost, or the connection ends with the reason."""

from __future__ import annotations

import contextlib
import dis
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from features.loops import LOOPBACK
from features.wire import HandServer
from support import command_frame
from support.events import PATIENCE

import hisock
from reliability.certificates import Authority

#: Where a thread is between the system and the frames that it has got from it.
READING = ("blocking_link.py", "blocking_session.py", "_framing_py.py", "_scratch_py.py", "tls.py")
#: The instructions after which Python looks for signals; between others it does not, so that
#: ``with lock`` never leaves a lock behind.
LOOKING = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
#: Such steps that a read takes at most.
MOST_STEPS = 5000


def looking(code: CodeType) -> set[int]:
    """Where the instructions are after which Python looks for signals."""
    return {at.offset for at in dis.get_instructions(code) if at.opname.startswith(LOOKING)}


@lru_cache(None)
def leaves_with(code: CodeType, offset: int) -> bool:
    """Whether a block of ``with`` ends here: an exception would not come into it any more."""
    here = [at for at in dis.get_instructions(code) if at.offset >= offset]
    while here and here[0].opname in ("SWAP", "NOP"):
        del here[0]
    return [(at.opname, at.argval) for at in here[:3]] == [("LOAD_CONST", None)] * 3


class Interruption:
    """Ctrl-C at one of the steps at which Python calls its handler.

    :param step: the number of the step, counted in the files that are watched.
    """

    def __init__(self, step: int) -> None:
        self.left = step
        self._watched: dict[CodeType, set[int]] = {}

    def __enter__(self) -> None:
        sys.settrace(self._called)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code not in self._watched:
            reads = Path(code.co_filename).name in READING and "send" not in code.co_name
            self._watched[code] = looking(code) if reads else set()
        if not self._watched[code]:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        before = -1

        def step(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal before
            if event == "opcode":
                looks = before in self._watched[code] and not leaves_with(code, frame.f_lasti)
                before = frame.f_lasti
                if looks:
                    self._look()
            return step

        return step

    def _look(self) -> None:
        self.left -= 1
        if not self.left:
            sys.settrace(None)
            raise KeyboardInterrupt


@pytest.fixture
def by_hand() -> Iterator[HandServer]:
    with HandServer() as made:
        yield made


def receive(client: hisock.HiSockClient, interruption: Interruption) -> list[int]:
    """The numbers that the client gets, where that is interrupted once."""
    got: list[int] = []
    try:
        with interruption:
            got.append(client.recv("n", int, timeout=PATIENCE))
    except KeyboardInterrupt:
        pass
    while len(got) < 3:
        got.append(client.recv("n", int, timeout=PATIENCE))
    return got


def sweep(play: Callable[[Interruption], list[int]]) -> None:
    """Interrupt at every step in turn: all that was sent comes, or the connection is given up."""
    for _ in range(2):  # from 3.12 on, steps of code that was never traced are left out
        assert play(Interruption(sys.maxsize)) == [0, 1, 2]
    given_up = missed = 0
    for step in range(1, MOST_STEPS):
        interruption = Interruption(step)
        got: list[int] | str
        try:
            got = play(interruption)
        except hisock.ConnectionLost as exc:
            got = str(exc)
            given_up += 1
        assert got in ([0, 1, 2], "the connection was given up, as reading was interrupted"), step
        # What is sent may come in more parts, and so take more steps, the next time.
        missed = missed + 1 if interruption.left > 0 else 0
        if missed == 3:
            break
    else:
        raise AssertionError("no read ends")
    if not given_up and sys.version_info >= (3, 13):
        pytest.skip("this Python reports few of the steps of what is traced")
    assert 0 < given_up < step


def test_nothing_is_lost(by_hand: HandServer) -> None:
    def play(interruption: Interruption) -> list[int]:
        with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:
            peer.write(b"".join(command_frame("n", str(number)) for number in range(3)))
            return receive(client, interruption)

    sweep(play)


def test_nothing_is_lost_of_a_frame_that_comes_in_pieces(by_hand: HandServer) -> None:
    def play(interruption: Interruption) -> list[int]:
        with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:
            data = b"".join(command_frame("n", str(number)) for number in range(3))
            peer.write(data[:20])
            client.update()
            peer.write(data[20:])
            return receive(client, interruption)

    sweep(play)


def test_nothing_is_lost_over_tls(authority: Authority) -> None:
    server = hisock.ThreadedHiSockServer(LOOPBACK, ssl=(authority.server, authority.server))

    @server.on("count")
    def count(client: hisock.ClientInfo) -> None:
        for number in range(3):
            server.send_client(client, "n", number)

    def play(interruption: Interruption) -> list[int]:
        with hisock.connect(server.addr, ssl=authority.ca) as client:
            client.send("count")
            return receive(client, interruption)

    with server:
        server.start()
        sweep(play)


def test_reading_ahead_of_a_send_loses_nothing(by_hand: HandServer) -> None:
    def play(interruption: Interruption) -> list[int]:
        with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:
            got: list[int] = []
            client.on("n")(lambda number: got.append(int(number)))
            for number in range(3):
                peer.send("n", str(number))
            with contextlib.suppress(KeyboardInterrupt), interruption:
                client.send("anything")
            peer.send("last")
            client.recv("last", timeout=PATIENCE)
            return got

    sweep(play)


def test_a_program_that_goes_on_after_its_handler_was_interrupted_gets_its_answer(
    by_hand: HandServer,
) -> None:
    """What came after it counted as sent before the question, and so as no answer."""
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:

        @client.on("stop")
        def stop() -> None:
            raise KeyboardInterrupt

        peer.send("stop")
        client.send("question")
        peer.send("answer")
        with pytest.raises(KeyboardInterrupt):
            client.recv("answer", timeout=PATIENCE)
        client.recv("answer", timeout=PATIENCE)
