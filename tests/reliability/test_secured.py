"""The server's TLS below its protocol: what is read, written and told, with a real peer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.events import PATIENCE
from support.wire import listening

from hisock._runtime.loops import new_loop
from hisock._runtime.secured import Secured, accept
from reliability.certificates import Authority
from reliability.watching import MIB

CONTENT = bytes(range(256)) * 800


class Side(asyncio.BufferedProtocol):
    """Keeps what it receives, and in which order it was told what."""

    def __init__(self, size: int = 65536) -> None:
        self.buffer = bytearray(size)
        self.got = bytearray()
        self.told: list[Any] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport: Secured = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.got += self.buffer[:nbytes]

    def eof_received(self) -> None:
        self.told.append("eof")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Halting(Side):
    """Pauses after each read, in the middle of records as well."""

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.0001, self.transport.resume_reading)


Act = Callable[[Any, ssl.SSLSocket], Coroutine[Any, Any, None]]


@pytest.fixture
def talk(authority: Authority, loop: Any) -> Callable[..., None]:
    """Connects a protocol and a blocking socket, and runs a coroutine with both."""

    def run(act: Act, make: Callable[[], Side] = Side) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server)

        async def main(stack: contextlib.ExitStack) -> None:
            listener = stack.enter_context(listening())
            running = asyncio.get_running_loop()
            raw = socket.create_connection(listener.getsockname(), PATIENCE)
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            side = make()
            shake = asyncio.to_thread(
                authority.context().wrap_socket, raw, server_hostname="localhost"
            )
            accepting = accept(running, lambda: side, accepted, context, PATIENCE)
            peer, _ = await asyncio.gather(shake, accepting)
            stack.enter_context(peer)
            await act(side, peer)
            side.transport.abort()
            await asyncio.wait_for(side.lost, PATIENCE)

        made = new_loop(loop)
        try:
            with contextlib.ExitStack() as stack:
                made.run_until_complete(asyncio.wait_for(main(stack), 3 * PATIENCE))
        finally:
            made.close()

    return run


@pytest.mark.parametrize("size", [1000, 65536])
def test_reading_that_is_paused_in_a_record_loses_nothing(
    talk: Callable[..., None], size: int
) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        def send() -> None:
            peer.sendall(CONTENT)
            peer.unwrap().close()

        await asyncio.gather(asyncio.to_thread(send), asyncio.wait_for(side.lost, PATIENCE))
        assert bytes(side.got) == CONTENT
        assert side.told == ["eof"]
        assert side.lost.result() is None

    talk(act, lambda: Halting(size))


def test_what_is_written_before_the_end_arrives_while_the_peer_sends(
    talk: Callable[..., None],
) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        count = 16 * MIB
        side.transport.writelines([bytes(count // 2), bytes(count // 2)])
        assert side.told == ["pause"]
        assert 0 < side.transport.get_write_buffer_size() <= count
        side.transport.close()
        assert side.transport.is_closing()
        side.transport.write(b"too late")

        def receive() -> int:
            peer.sendall(CONTENT)  # nobody reads it, and no reset may overtake the answer
            got = 0
            while part := peer.recv(65536):
                got += len(part)
            peer.close()
            return got

        assert await asyncio.to_thread(receive) == count
        assert await asyncio.wait_for(side.lost, PATIENCE) is None
        assert side.told == ["pause", "resume"]

    talk(act)


def test_limits_of_the_write_buffer_are_kept(talk: Callable[..., None]) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        side.transport.set_write_buffer_limits(high=0)
        while not side.told:
            side.transport.write(bytes(1000))
        assert 0 < side.transport.get_write_buffer_size() <= 1000
        waits = side.transport.get_write_buffer_size()
        side.transport.set_write_buffer_limits(high=10, low=waits)
        assert side.told == ["pause"]
        side.transport.abort()
        side.transport.abort()
        assert side.transport.get_write_buffer_size() == 0

    talk(act)


def test_a_cut_is_no_end_that_was_said(talk: Callable[..., None]) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        # It reads all that was sent, session tickets included: else closing would be a reset.
        side.transport.write(b"read")
        assert await asyncio.to_thread(peer.recv, 4) == b"read"
        peer.sendall(b"x")
        socket.socket.shutdown(peer, socket.SHUT_WR)
        assert await asyncio.wait_for(side.lost, PATIENCE) is None
        assert bytes(side.got) == b"x"
        assert side.told == []

    talk(act)


@pytest.mark.parametrize("make", [Side, Halting])
def test_a_reset_behind_what_is_unread_is_noticed(talk: Callable[..., None], make: Any) -> None:
    """Over uvloop it is reported only once, with the first record."""

    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(20):
            peer.sendall(b"x" * 100)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await asyncio.wait_for(side.lost, PATIENCE)
        assert len(side.got) == 2000

    talk(act, make)


def test_a_protocol_that_fails_is_reported_and_loses_its_connection(
    talk: Callable[..., None],
) -> None:
    class Failing(Side):
        def buffer_updated(self, nbytes: int) -> None:
            raise LookupError("a defect")

    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        reports: list[Any] = []
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda loop, context: reports.append(context))
        peer.sendall(b"x")
        assert isinstance(await asyncio.wait_for(side.lost, PATIENCE), LookupError)
        assert [type(report["exception"]) for report in reports] == [LookupError]

    talk(act, Failing)


def test_it_tells_what_a_transport_over_tls_tells(talk: Callable[..., None]) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        asked = side.transport.get_extra_info
        assert asked("peername") == peer.getsockname()
        assert asked("sockname") == peer.getpeername()
        assert asked("cipher") == peer.cipher()
        assert asked("ssl_object").version() == peer.version()
        assert asked("sslcontext") is asked("ssl_object").context
        assert asked("socket").fileno() == asked("ssl_object").fileno()
        assert asked("peercert") is None
        assert asked("unheard of", 1) == 1
        side.transport.close()
        assert asked("peercert", "gone") == "gone", "its TLS has ended"
        side.transport.abort()
        await asyncio.wait_for(side.lost, PATIENCE)
        assert asked("peername", "gone") == "gone"

    talk(act)


def test_what_is_written_while_new_keys_are_agreed_on_waits(talk: Callable[..., None]) -> None:
    """OpenSSL then asks for bytes of the peer first; Python cannot make a peer that does that."""

    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        transport = side.transport
        offer = transport._offer

        def agree_first(data: Any) -> int:
            if not side.got:
                raise ssl.SSLWantReadError
            return offer(data)

        transport._offer = agree_first
        transport.write(b"answer")
        assert (transport.get_write_buffer_size(), transport.is_closing()) == (6, False)
        peer.sendall(b"x")
        assert await asyncio.to_thread(peer.recv, 10) == b"answer"

    talk(act)


def test_a_read_that_had_to_write_goes_on_when_that_is_possible(talk: Callable[..., None]) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        transport, again = side.transport, asyncio.Event()
        fill = transport._fill

        def write_first(most: int, buffer: memoryview) -> int:
            fill(most, buffer)
            transport._fill = go_on
            raise ssl.SSLWantWriteError

        def go_on(most: int, buffer: memoryview) -> int:
            again.set()
            return fill(most, buffer)

        transport._fill = write_first
        peer.sendall(b"x")
        await asyncio.wait_for(again.wait(), PATIENCE)

    talk(act)


def test_a_handshake_that_fails_leaves_nothing_to_the_collector(
    authority: Authority, loop: Any
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)

    async def main() -> int:
        ours, peer = socket.socketpair()
        with peer:
            ours.setblocking(False)
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ssl.SSLError):
                await accept(asyncio.get_running_loop(), Side, ours, context, PATIENCE)
            await asyncio.sleep(0)
            return sum(isinstance(each, Secured) for each in gc.get_objects())

    made = new_loop(loop)
    gc.collect()
    gc.disable()
    try:
        assert made.run_until_complete(main()) == 0
    finally:
        gc.enable()
        made.close()
