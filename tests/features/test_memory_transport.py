"""Connections in memory: they behave as sockets do, and a server takes clients that come so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import command_frame, frame
from support.events import PATIENCE

import hisock
from hisock._runtime.memory import WINDOW, MemoryTransport, memory_pair
from hisock._server.hub import Hub

from .virtual_time import VirtualLoop

HELLO = frame(b'$CLTHELLO${"name": "Ada", "group": null}')


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[Any] = []
        self.keeps_open = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(type(exc))


class Buffered(asyncio.BufferedProtocol):
    """Receives into a small buffer of its own."""

    def __init__(self) -> None:
        self.data = b""
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]


Ends = tuple[MemoryTransport, Recorder, MemoryTransport, Recorder]


def ends(window: int = WINDOW) -> Ends:
    left, right = memory_pair(window=window)
    one, other = Recorder(), Recorder()
    left.set_protocol(one)
    right.set_protocol(other)
    return left, one, right, other


async def settle() -> None:
    """Let the loop run until nothing is under way any more."""
    for _ in range(100):
        await asyncio.sleep(0)


def run(main: Any) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, 60))
    finally:
        loop.close()


def test_what_one_side_writes_the_other_receives_in_order_and_not_at_once() -> None:
    async def main() -> None:
        left, _, right, other = ends()
        left.write(b"one")
        left.writelines([b"two", bytearray(b"three")])
        assert other.data == b""
        await settle()
        assert other.data == b"onetwothree"
        assert left.get_extra_info("peername") == right.get_extra_info("sockname")
        assert left.get_extra_info("nothing", 5) == 5

    run(main())


def test_a_buffered_protocol_receives_into_its_buffer_piece_by_piece() -> None:
    async def main() -> None:
        left, right = memory_pair()
        left.set_protocol(Recorder())
        left.write(b"written before anybody listens")
        await settle()
        protocol = Buffered()
        right.set_protocol(protocol)
        await settle()
        assert protocol.data == b"written before anybody listens"

    run(main())


def test_a_reader_that_rests_makes_the_writer_pause() -> None:
    async def main() -> None:
        left, one, right, other = ends(window=1000)
        left.set_write_buffer_limits(high=500, low=100)
        right.pause_reading()
        left.write(b"x" * 1500)
        assert one.told == []
        left.write(b"x")
        assert one.told == ["pause"]
        assert left.get_write_buffer_size() == 501
        await settle()
        assert other.data == b""
        right.resume_reading()
        await settle()
        assert (one.told, len(other.data)) == (["pause", "resume"], 1501)
        assert left.get_write_buffer_size() == 0

    run(main())


@pytest.mark.parametrize(("high", "low"), [(1, 2), (0, 1)])
def test_limits_have_an_order(high: int, low: int) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="must be >="):
            memory_pair()[0].set_write_buffer_limits(high, low)

    run(main())


def test_closing_writes_what_waits_and_tells_both() -> None:
    async def main() -> None:
        left, one, right, other = ends(window=10)
        left.write(b"x" * 100)
        left.close()
        assert left.is_closing()
        left.close()
        await settle()
        assert len(other.data) == 100
        assert one.told == [type(None)]
        assert other.told == ["eof", type(None)]
        assert right.is_closing()

    run(main())


def test_half_of_a_connection_can_be_closed() -> None:
    async def main() -> None:
        left, one, right, other = ends()
        other.keeps_open = True
        left.write(b"question")
        left.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            left.write(b"more")
        await settle()
        assert (other.data, other.told) == (b"question", ["eof"])
        right.write(b"answer")
        right.close()
        await settle()
        assert (one.data, one.told) == (b"answer", ["eof", type(None)])

    run(main())


def test_aborting_loses_what_waits() -> None:
    async def main() -> None:
        left, one, _, other = ends(window=10)
        left.write(b"x" * 100)
        left.abort()
        await settle()
        assert len(other.data) == 10
        assert (one.told, other.told) == ([type(None)], ["eof", type(None)])

    run(main())


@pytest.mark.parametrize("end", ["abort", "close"])
def test_what_is_written_after_the_end_is_kept_nowhere(end: str) -> None:
    async def main() -> None:
        left, one, _, other = ends()
        tapped: list[bytes] = []
        left.tap = tapped.append
        getattr(left, end)()
        left.write(b"late")
        left.writelines([b"later"])
        assert (left.get_write_buffer_size(), tapped) == (0, [])
        await settle()
        assert (one.told, other.data) == ([type(None)], b"")

    run(main())


def test_a_writer_that_pauses_is_not_told_to_go_on_when_it_aborts() -> None:
    async def main() -> None:
        left, one, _, _ = ends(window=10)
        left.write(b"x" * 100_000)
        left.abort()
        await settle()
        assert one.told == ["pause", type(None)]

    run(main())


def test_writing_to_a_side_that_is_gone_resets_the_connection() -> None:
    async def main() -> None:
        left, _, right, other = ends()
        other.keeps_open = True
        left.close()
        await settle()
        right.write(b"hello?")
        await settle()
        assert other.told == ["eof", ConnectionResetError]

    run(main())


def test_closing_with_something_unread_resets_the_connection() -> None:
    async def main() -> None:
        left, _, right, other = ends()
        left.pause_reading()
        right.write(b"unread")
        left.close()
        await settle()
        assert other.told == [ConnectionResetError]

    run(main())


def test_a_cut_is_told_to_both_and_what_is_under_way_is_lost() -> None:
    async def main() -> None:
        left, one, right, other = ends()
        right.pause_reading()
        left.write(b"lost")
        left.reset()
        await settle()
        assert other.data == b""
        assert (one.told, other.told) == ([ConnectionResetError], [ConnectionResetError])

    run(main())


def test_a_server_takes_a_client_that_comes_over_a_transport() -> None:
    """With a clock of its own: the second in which a goodbye may be read passes at once."""

    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), announce="none")

        @server.on("echo")
        def echo(client: hisock.ClientInfo, message: bytes) -> None:
            server.send_client(client, "echo", message)

        async with server:
            mine, its = memory_pair(addresses=(("game", 7), ("server", 1)))
            recorder = Recorder()
            mine.set_protocol(recorder)
            server._hub.attach(its, ("game", 7))
            mine.write(HELLO + command_frame("echo", "hi"))
            await settle()
            assert recorder.data == command_frame("echo", "hi")
            (info,) = server.get_all_clients()
            assert (info.addr, info.name) == (("game", 7), "Ada")
            recorder.data = b""
            server.disconnect_client(info)
            await settle()
            assert recorder.data == frame(b"$DISCONN$")
            assert recorder.told == ["eof", type(None)]

    run(main())


class MemoryListener:
    """Brings clients in memory; see :class:`hisock._server.listener.Listener`."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self.closed = False

    def start(self, hub: Hub) -> None:
        self.hub = hub

    async def close(self) -> None:
        self.closed = True

    def connect(self) -> MemoryTransport:
        mine, its = memory_pair()
        assert self.hub is not None
        self.hub.attach(its, ("memory", 1))
        return mine


@pytest.mark.parametrize("early", [True, False])
def test_a_listener_brings_clients_until_it_is_closed_with_the_server(early: bool) -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), announce="none")
        listener = MemoryListener()
        if early:
            server._hub.listen(listener)
            assert listener.hub is None
        async with server:
            if not early:
                server._hub.listen(listener)
            mine = listener.connect()
            mine.set_protocol(Recorder())
            mine.write(HELLO)
            await settle()
            assert len(server) == 1
            assert not listener.closed
        assert listener.closed

    run(main())


class SlowListener(MemoryListener):
    """Takes its time to close."""

    def __init__(self) -> None:
        super().__init__()
        self.closing, self.may_close = asyncio.Event(), asyncio.Event()

    async def close(self) -> None:
        self.closing.set()
        await self.may_close.wait()
        await super().close()


@pytest.mark.parametrize("times", [1, 2])
def test_a_server_that_is_cancelled_while_a_listener_closes_ends_its_clients_and_handlers(
    times: int,
) -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), announce="none")
        ended: list[str] = []

        @server.on("wait")
        async def wait(client: hisock.ClientInfo) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("wait")

        slow, last = SlowListener(), MemoryListener()
        server._hub.listen(slow)
        server._hub.listen(last)
        serving = asyncio.ensure_future(server.serve())
        await settle()
        recorder = Recorder()
        mine = slow.connect()
        mine.set_protocol(recorder)
        mine.write(HELLO + frame(b"$CMD$wait"))
        await settle()
        server.close()
        await asyncio.wait_for(slow.closing.wait(), PATIENCE)
        for _ in range(times):
            serving.cancel()
            await asyncio.sleep(0)
        slow.may_close.set()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert ended == ["wait"]
        assert recorder.data.endswith(frame(b"$DISCONN$"))
        assert last.closed
        assert not server._hub.connections

    run(main())


def test_a_slow_client_in_memory_holds_up_the_server_as_one_on_a_socket_does() -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), announce="none", send_buffer=200_000)
        async with server:
            mine, its = memory_pair()
            mine.set_protocol(Recorder())
            server._hub.attach(its, ("slow", 1))
            mine.write(HELLO)
            await settle()
            mine.pause_reading()
            for _ in range(100):
                server.send_all_clients("state", bytes(5000))
            await settle()
            assert server.stats().ended == {"slow": 1}

    run(main())
