"""One connection of the client under test, as the kit sees it: frames in, bytes out."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, NamedTuple

from hisock.framing import Decoder, FramingError


class Failure(Exception):
    """The client under test did something else than it has to; the text says what."""


class Heard(NamedTuple):
    """A frame of the client.

    :ivar command: ``None`` where the frame is reserved, or raw.
    :ivar message: what follows ``$MSG$``, empty without one; else the whole payload.
    """

    command: str | None
    message: bytes


def frame(payload: bytes) -> bytes:
    """A frame with this payload."""
    return b"%-16d%b" % (len(payload), payload)


def command_frame(command: str, message: bytes | None = None) -> bytes:
    """A frame with a command."""
    tail = b"" if message is None else b"$MSG$" + message
    return frame(b"$CMD$" + command.encode() + tail)


class TestedConnection:
    """What all connections have in common.

    :param send: writes bytes to the client.
    :param receive: gives bytes of it, within seconds; ``b""`` at the end.
    :param patience: seconds that one answer may take.
    """

    def __init__(
        self,
        send: Callable[[bytes], object],
        receive: Callable[[float], bytes],
        patience: float,
    ) -> None:
        self.send = send
        self._receive = receive
        self._patience = patience
        self._decoder = Decoder()
        self._heard: deque[Heard] = deque()
        self._ended = False
        self.hello: dict[str, Any] = {}

    @property
    def features(self) -> list[str]:
        """What the client says it knows."""
        found = self.hello.get("features")
        return found if isinstance(found, list) else []

    def read(self) -> Heard | None:
        """The next frame; ``None`` when the client has closed.

        :raises Failure: nothing came in time, or it was no frame.
        """
        deadline = time.monotonic() + self._patience
        while not self._heard and not self._ended:
            self._take(self._bytes(deadline))
        return self._heard.popleft() if self._heard else None

    def _bytes(self, deadline: float) -> bytes:
        try:
            return self._receive(max(deadline - time.monotonic(), 0.001))
        except TimeoutError:
            raise Failure(f"nothing came within {self._patience:g} seconds") from None
        except OSError:
            return b""

    def _take(self, data: bytes) -> None:
        if not data:
            self._ended = True
            return
        try:
            frames = self._decoder.feed(data)
        except FramingError as exc:
            raise Failure(f"it sent what is no frame: {exc}") from None
        self._heard += (Heard(command, message or b"") for command, message in frames)
        if self._decoder.error is not None:
            raise Failure(f"it sent what is no frame: {self._decoder.error}")

    def expect(self, command: str | None, message: bytes) -> None:
        """Read one frame, which has to be this one.

        :raises Failure: it is another, or none came.
        """
        got = self.read()
        wanted = Heard(command, message)
        if got != wanted:
            raise Failure(f"expected {_text(wanted)}, got {_text(got)}")

    def expect_heard(self, command: str, message: bytes) -> None:
        """Read what a client sends for each command that it has nothing else to do with.

        :raises Failure: it is something else, or nothing came.
        """
        self.expect("heard", command.encode() + b"\n" + message)

    def expect_close(self) -> None:
        """Read until the client closes.

        :raises Failure: it does not.
        """
        while self.read() is not None:
            pass

    def welcome(self) -> None:
        """Read the hello, and let the client in.

        :raises Failure: it is none.
        """
        got = self.read()
        if got is None or got.command is not None or not got.message.startswith(b"$CLTHELLO$"):
            raise Failure(f"the first frame has to be $CLTHELLO$, got {_text(got)}")
        try:
            hello = json.loads(got.message.removeprefix(b"$CLTHELLO$"))
        except (ValueError, RecursionError):
            raise Failure("the hello is not JSON") from None
        if not isinstance(hello, dict) or not {"name", "group"} <= hello.keys():
            raise Failure("the hello has to be an object with name and group")
        self.hello = hello
        if "features" in hello:
            self.send(frame(b'$SRVHELLO${"features":["call","reject"],"codec":"json"}'))
        info = {"ip": ["127.0.0.1", 50000], "name": hello["name"], "group": hello["group"]}
        self.send(frame(b"$CLTCONN$" + json.dumps(info).encode()))


def _text(got: Heard | None) -> str:
    if got is None:
        return "the end of the connection"
    message = got.message if len(got.message) <= 60 else got.message[:60] + b"..."
    return (
        f"{message!r}" if got.command is None else f"the command {got.command!r} with {message!r}"
    )


class TestedConnections:
    """Takes connections of the client under test, one at a time.

    :param listener: where it connects to.
    :param websocket: whether it comes by a WebSocket.
    :param patience: seconds that a connection, or an answer, may take.
    """

    def __init__(self, listener: socket.socket, websocket: bool, patience: float) -> None:
        self._listener = listener
        self._patience = patience
        self._websocket = websocket
        self._waiting: queue.Queue[tuple[TestedConnection, threading.Event]] = queue.Queue()
        self._server: Any = None
        self._over = threading.Event()

    def __enter__(self) -> TestedConnections:
        self._listener.settimeout(self._patience)
        if self._websocket:
            from websockets.sync.server import serve
            from websockets.typing import Subprotocol

            self._server = serve(
                self._serve_one,
                sock=self._listener,
                subprotocols=[Subprotocol("hisock.v3")],
                compression=None,
                max_size=None,
            )
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        if self._server is not None:
            self._over.set()
            self._server.shutdown()
        return False

    @contextlib.contextmanager
    def next(self) -> Iterator[TestedConnection]:
        """The next connection.

        :raises Failure: none came in time.
        """
        with self._by_websocket() if self._websocket else self._by_tcp() as line:
            yield line

    @contextlib.contextmanager
    def _by_tcp(self) -> Iterator[TestedConnection]:
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise Failure(f"it did not connect within {self._patience:g} seconds") from None
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def receive(timeout: float) -> bytes:
                connection.settimeout(timeout)
                return connection.recv(262144)

            yield TestedConnection(connection.sendall, receive, self._patience)

    @contextlib.contextmanager
    def _by_websocket(self) -> Iterator[TestedConnection]:
        try:
            line, done = self._waiting.get(timeout=self._patience)
        except queue.Empty:
            raise Failure(f"it did not connect within {self._patience:g} seconds") from None
        try:
            yield line
        finally:
            done.set()

    def _serve_one(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        def send(data: bytes) -> None:
            with contextlib.suppress(ConnectionClosed):
                for start in range(0, len(data), 65536):
                    connection.send(data[start : start + 65536])

        def receive(timeout: float) -> bytes:
            deadline = time.monotonic() + timeout
            while True:  # an empty message is not the end of the stream
                try:
                    data = connection.recv(max(deadline - time.monotonic(), 0.001))
                except ConnectionClosed:
                    return b""
                if isinstance(data, str):
                    raise Failure("it sent text; the messages of a WebSocket have to be binary")
                if data:
                    return bytes(data)

        done = threading.Event()
        self._waiting.put((TestedConnection(send, receive, self._patience), done))
        while not done.wait(0.2):
            if self._over.is_set():
                break  # the client came once more, and there is no case left
