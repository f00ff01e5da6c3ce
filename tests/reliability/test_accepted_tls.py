"""The server's TLS below its protocol: what is read, written and told, with a real peer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
import struct
import sys
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import logged
from support.polling import until
from support.wire import listening

from hisock._runtime.accepting import (
    BIO_SIZE,
    Accepting,
    fast_tls_module,
    resume_reading,
    tls_name,
)
from hisock._runtime.draining import in_transport
from hisock._runtime.loops import new_loop
from hisock._runtime.tls import server_context
from reliability.certificates import Authority
from reliability.watching import LOOPBACK, MIB, TLS

CONTENT = bytes(range(256)) * 800
pytestmark = pytest.mark.usefixtures("nothing_left")
by_aiofastnet = pytest.mark.skipif("aiofastnet" not in TLS, reason="aiofastnet cannot be used here")


class Side(asyncio.BufferedProtocol):
    """Keeps what it receives, and in which order it was told what."""

    def __init__(self, size: int = 65536) -> None:
        self.buffer = bytearray(size)
        self.got = bytearray()
        self.told: list[Any] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport

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
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            resume_reading(self.transport)


class Paused(Side):
    """Pauses after the first read, until it is resumed."""

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        if len(self.got) == nbytes:
            self.transport.pause_reading()


Act = Callable[[Any, ssl.SSLSocket], Coroutine[Any, Any, None]]
Talk = Callable[..., None]


@pytest.fixture
def talk(authority: Authority, loop: Any) -> Talk:
    """Connects a protocol and a blocking socket, and runs a coroutine with both."""

    def run(
        act: Callable[[Any, Any], Coroutine[Any, Any, None]],
        make: Callable[[], Side] = Side,
        wrap: Callable[[socket.socket], Any] | None = None,
    ) -> None:
        context = server_context((authority.server, authority.server))

        def shake(raw: socket.socket) -> Any:
            return authority.context().wrap_socket(raw, server_hostname="localhost")

        async def main(stack: contextlib.ExitStack) -> None:
            listener = stack.enter_context(listening())
            raw = socket.create_connection(listener.getsockname(), PATIENCE)
            stack.enter_context(raw)
            accepted, _ = listener.accept()
            side = make()
            accepting = Accepting(asyncio.get_running_loop(), context, PATIENCE)
            shaking = asyncio.to_thread(wrap or shake, raw)
            peer, _ = await asyncio.gather(shaking, accepting.accept(lambda: side, accepted))
            accepting.close()
            if wrap is None:
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
            gc.collect()  # functions of tests that hold themselves, and exceptions

    return run


@by_aiofastnet
@pytest.mark.parametrize("size", [1000, 65536])
def test_reading_that_is_paused_in_a_record_loses_nothing(talk: Talk, size: int) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        def send() -> None:
            peer.sendall(CONTENT)
            peer.unwrap().close()

        await asyncio.gather(asyncio.to_thread(send), asyncio.wait_for(side.lost, PATIENCE))
        assert bytes(side.got) == CONTENT
        assert side.told == ["eof"]
        assert side.lost.result() is None

    talk(act, lambda: Halting(size))


async def _is_paused_in_a_record(side: Side, peer: ssl.SSLSocket) -> None:
    """One of 3,000 B has come, of which 100 were taken."""
    peer.sendall(bytes(3000))
    await until(lambda: side.got)
    assert len(side.got) == 100


@by_aiofastnet
def test_the_rest_of_a_record_is_read_although_nothing_more_comes(talk: Talk) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        await _is_paused_in_a_record(side, peer)
        resume_reading(side.transport)
        await until(lambda: len(side.got) == 3000)

    talk(act, lambda: Paused(100))


@by_aiofastnet
def test_aiofastnet_still_needs_what_resume_reading_does(talk: Talk) -> None:
    """When this fails, aiofastnet has mended it: ``resume_reading`` need not do it any more."""

    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        await _is_paused_in_a_record(side, peer)
        side.transport.resume_reading()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(side.got) == 100, "aiofastnet reads what waits by itself"
        side.transport._retry_ssl_read()  # type: ignore[attr-defined]
        assert len(side.got) == 3000

    talk(act, lambda: Paused(100))


@by_aiofastnet
def test_aiofastnet_still_writes_what_servers_show_to_files(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, aiofastnet has mended it: asynchronous clients may use it as well."""
    written: list[str] = []
    temporary: Any = tempfile.NamedTemporaryFile

    def note(*args: Any, **options: Any) -> Any:
        file = temporary(*args, **options)
        written.append(file.name)
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", note)
    module: Any = fast_tls_module()

    async def main() -> None:
        context = server_context((authority.server, authority.server))
        running, ours, theirs = asyncio.get_running_loop(), Side(), Side()
        async with await running.create_server(lambda: theirs, *LOOPBACK, ssl=context) as server:
            addr = server.sockets[0].getsockname()
            verifies = {"ssl": authority.context(), "server_hostname": "localhost"}
            connecting = module.create_connection(running, lambda: ours, *addr, **verifies)
            await asyncio.wait_for(connecting, PATIENCE)
            ours.transport.close()
            await asyncio.wait_for(asyncio.gather(ours.lost, theirs.lost), PATIENCE)

    asyncio.run(main())
    assert len(written) == 1


@by_aiofastnet
def test_a_flood_of_key_updates_leaves_others_their_turn(talk: Talk) -> None:
    """OpenSSL works through all that it is given at once; Python's ssl is given 256 KiB."""
    from reliability.key_updates import updating

    with contextlib.ExitStack() as stack:

        async def act(side: Side, peer: Any) -> None:
            flood = peer.updates(20_000)
            turns = 0

            def count() -> None:
                nonlocal turns
                turns += 1
                if not side.got:
                    asyncio.get_running_loop().call_soon(count)

            # All of it waits in the socket already when the loop goes on.
            side.transport.pause_reading()
            sending = asyncio.to_thread(peer.sock.sendall, flood + peer.record(b"x"))
            resume_reading(side.transport)
            count()
            await sending
            await until(lambda: side.got)
            assert turns >= len(flood) // BIO_SIZE

        talk(act, wrap=lambda raw: stack.enter_context(updating(raw)))


@by_aiofastnet
def test_what_waits_is_counted_from_any_thread_and_arrives(talk: Talk) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        count = 16 * MIB

        def receive() -> int:
            peer.sendall(CONTENT)
            got = 0
            while got < count and (part := peer.recv(65536)):
                got += len(part)
            return got

        side.transport.writelines([bytes(count // 2), bytes(count // 2)])
        await until(lambda: "pause" in side.told)
        assert await asyncio.to_thread(in_transport, side.transport) > MIB
        assert await asyncio.to_thread(receive) == count
        await until(lambda: side.told[-1] == "resume")
        side.transport.close()
        assert side.transport.is_closing()
        side.transport.write(b"too late")

    talk(act)


@pytest.mark.usefixtures("tls_by")
def test_a_cut_is_no_error(talk: Talk) -> None:
    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)  # without TLS's own end, and without a reset
        assert await asyncio.wait_for(side.lost, PATIENCE) is None
        assert bytes(side.got) == b"x"

    talk(act)


@by_aiofastnet
@pytest.mark.parametrize("make", [Side, Halting])
def test_a_reset_behind_what_is_unread_is_noticed(talk: Talk, make: Any) -> None:
    """uvloop reports it only once, with the first record."""

    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2000):
            peer.sendall(b"x" * 100)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await asyncio.wait_for(side.lost, PATIENCE)

    talk(act, make)


@by_aiofastnet
def test_a_protocol_that_fails_is_reported_and_loses_its_connection(talk: Talk) -> None:
    class Failing(Side):
        def buffer_updated(self, nbytes: int) -> None:
            raise LookupError("a defect")

    async def act(side: Side, peer: ssl.SSLSocket) -> None:
        reports: list[Any] = []
        running = asyncio.get_running_loop()
        note = reports.append
        running.set_exception_handler(lambda loop, context: note(type(context["exception"])))
        peer.sendall(b"x")
        assert isinstance(await asyncio.wait_for(side.lost, PATIENCE), LookupError)
        assert reports == [LookupError]

    talk(act, Failing)


@by_aiofastnet
def test_without_the_global_lock_it_is_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transports are asked from other threads how much waits."""
    assert tls_name().startswith("aiofastnet ")
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert tls_name() == "ssl"


@pytest.mark.usefixtures("tls_by")
@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16", b""])
def test_a_handshake_that_fails_leaves_nothing_to_the_collector(
    authority: Authority, loop: Any, sent: bytes
) -> None:
    context = server_context((authority.server, authority.server))

    async def main() -> int:
        ours, peer = socket.socketpair()
        with peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            accepting = Accepting(asyncio.get_running_loop(), context, PATIENCE)
            with contextlib.suppress(OSError):
                await accepting.accept(Side, ours)
            accepting.close()
            ours.close()
            for _ in range(3):
                await asyncio.sleep(0)
            return sum("SSLTransport" in type(each).__name__ for each in gc.get_objects())

    made = new_loop(loop)
    gc.collect()
    gc.disable()
    try:
        with logged("aiofastnet", logging.ERROR) as errors, logged("asyncio") as complaints:
            assert made.run_until_complete(main()) == 0
    finally:
        gc.enable()
        made.close()
    assert errors.messages == []
    assert [text for text in complaints.messages if "SSL" in text] == []


@pytest.mark.usefixtures("tls_by")
def test_a_context_that_calls_python_is_left_to_the_loop(
    authority: Authority, start_server: StartServer
) -> None:
    """With aiofastnet the first client would crash the process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    asked: list[str | None] = []
    context.sni_callback = lambda connection, name, given: asked.append(name)
    server = start_server(ssl=context)
    with socket.create_connection(server.addr, PATIENCE) as raw:
        authority.context().wrap_socket(raw, server_hostname="localhost").close()
    assert asked == ["localhost"]
