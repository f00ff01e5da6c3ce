"""A client over a WebSocket is a client as any other."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reliability.certificates import Authority
from reliability.shutting import closing_in_a_thread
from support import Events, Peer
from support.events import PATIENCE
from support.wire import command_frame, frame

import hisock
from hisock._server.connection import Connection

from .conftest import MakeWebServer
from .web_peer import CLOSE, CONTINUATION, PING, PONG, WebPeer, message, request

Join = Callable[..., WebPeer]
EVERY_PAIR = True
HELLO = b'$CLTHELLO${"name":"Ada","group":null}'


def test_both_kinds_of_clients_hear_each_other(
    server: hisock.ThreadedHiSockServer, join: Join
) -> None:
    @server.on("say")
    def say(client: hisock.ClientInfo, text: str) -> None:
        server.send_all_clients("said", f"{client.name}: {text}")

    web = join("Ada")
    with Peer.joined(server.addr, "Bob") as tcp:
        assert web.wait_for(lambda got: got.reserved == "CLTCONN").json["name"] == "Bob"
        web.send("say", "hello")
        tcp.send("say", "hi")
        assert {web.wait_for("said").message, web.wait_for("said").message} == {
            b"Ada: hello",
            b"Bob: hi",
        }
        assert tcp.wait_for("said").message is not None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 8191, 8193, 65535, 65536, 70_000, 3_000_000])
def test_messages_of_every_size_come_back(join: Join, size: int) -> None:
    peer = join()
    text = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    whole = command_frame("echo", text)
    for start in range(0, len(whole), 65536):
        peer.write(whole[start : start + 65536])
    assert (peer.wait_for("echo").message or b"") == text
    assert max(peer.messages) <= 65536


def test_a_part_of_a_message_keeps_nobody_waiting_for_a_turn(
    make_web_server: MakeWebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pausing the rest of a batch that a client has joined costs an iteration of the loop."""
    handled: list[bytes] = []
    turns: list[int] = []
    take_turns = Connection.take_turns

    def noted(self: Connection, filled: bool) -> None:
        turns.append(len(handled))
        take_turns(self, filled)

    monkeypatch.setattr(Connection, "take_turns", noted)
    server = make_web_server()

    @server.on("count")
    def count(client: hisock.ClientInfo, counted: bytes) -> None:
        handled.append(counted)

    server.start()
    with WebPeer.in_web(server.addr, "Ada") as peer:
        peer.write(command_frame("count", b"x" * 100) * 400 + command_frame("echo", b"y"))
        assert peer.wait_for("echo").message == b"y"
        assert len(handled) == 400
        assert 0 not in turns, turns
        peer.say(message(command_frame("count", b"x" * 100)) * 5000)
        peer.ask("echo", b"z")
        assert turns, "who has sent much that is handled lets others have their turn"


def test_a_burst_of_large_messages_is_not_mixed_up(make_web_server: MakeWebServer) -> None:
    """More than the system takes at once, so that the transport has to keep what is sent."""
    server = make_web_server(send_buffer=100_000_000)
    server.start()
    sent = [bytes([i % 256]) * (9000 + 137 * i) for i in range(300)]
    with WebPeer.in_web(server.addr) as peer:
        for text in sent:
            peer.write(command_frame("echo", text))
        for text in sent:
            assert peer.wait_for("echo").message == text


def test_what_is_answered_in_one_go_is_one_message(join: Join) -> None:
    peer = join()
    peer.messages.clear()
    peer.write(command_frame("echo", b"x") * 100)
    for _ in range(100):
        assert peer.read().message == b"x"
    assert len(peer.messages) < 5


def test_boundaries_mean_nothing(join: Join) -> None:
    peer = join()
    stream = command_frame("echo", b"abc") * 3
    peer.say(b"".join(message(stream[i : i + 1]) for i in range(len(stream))))
    for _ in range(3):
        assert peer.wait_for("echo").message == b"abc"


def test_a_message_in_parts_with_a_ping_between(join: Join) -> None:
    peer = join()
    whole = command_frame("echo", b"parts")
    peer.say(message(whole[:5], fin=False))
    peer.say(message(b"are you there", PING))
    peer.say(message(whole[5:9], CONTINUATION, fin=False) + message(whole[9:], CONTINUATION))
    assert peer.wait_for("echo").message == b"parts"
    assert peer.controls == [(PONG, b"are you there")]


def test_a_ping_at_the_end_of_a_batch_keeps_nothing_back(join: Join) -> None:
    peer = join()
    peer.say(message(command_frame("echo", b"1")) * 2 + message(b"", PING))
    assert peer.wait_for("echo").message == b"1"
    assert peer.wait_for("echo").message == b"1"


def test_one_byte_at_a_time(server: hisock.ThreadedHiSockServer) -> None:
    with WebPeer(server.addr) as peer:
        for byte in request():
            peer.say(bytes([byte]))
        assert peer.answer().status == 101
        for byte in message(frame(HELLO)) + message(command_frame("echo", b"x")):
            peer.say(bytes([byte]))
        assert peer.wait_for("echo").message == b"x"


def test_the_hello_may_come_in_the_packet_of_the_request(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with WebPeer(server.addr) as peer:
        peer.say(request() + message(frame(HELLO)) + message(command_frame("echo", b"x")))
        assert peer.answer().status == 101
        assert peer.wait_for("echo").message == b"x"


def test_tcp_clients_are_served_byte_by_byte_too(server: hisock.ThreadedHiSockServer) -> None:
    with Peer(server.addr) as peer:
        for byte in frame(HELLO) + command_frame("echo", b"x"):
            peer.write(bytes([byte]))
        assert peer.wait_for("echo").message == b"x"


def test_the_subprotocol_is_confirmed_where_it_is_offered(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with WebPeer(server.addr) as peer:
        answer = peer.open(Sec_WebSocket_Protocol="chat, hisock.v3")
        assert answer.headers["sec-websocket-protocol"] == "hisock.v3"
        assert "sec-websocket-extensions" not in answer.headers
    with WebPeer(server.addr) as peer:
        answer = peer.open(Sec_WebSocket_Protocol="")
        assert (answer.status, "sec-websocket-protocol" in answer.headers) == (101, False)


@pytest.mark.parametrize(
    "said", ["keep-alive, Upgrade", "Upgrade", "upgrade", "keep-alive,upgrade"]
)
def test_proxies_may_say_more_of_the_connection(
    server: hisock.ThreadedHiSockServer, said: str
) -> None:
    with WebPeer(server.addr) as peer:
        assert peer.open(Connection=said).status == 101


@pytest.mark.parametrize("over", ["tls", "plain"])
def test_browsers_and_tcp_share_a_port_over_tls_too(
    make_web_server: MakeWebServer, tmp_path: Path, over: str
) -> None:
    authority = Authority.make(tmp_path)
    server = make_web_server(ssl=(authority.server, authority.server) if over == "tls" else None)
    server.start()

    def open_socket() -> socket.socket:
        sock = socket.create_connection(server.addr, 15)
        if over == "plain":
            return sock
        return authority.context().wrap_socket(sock, server_hostname="localhost")

    with WebPeer(server.addr, open_socket()) as web, Peer(server.addr, sock=open_socket()) as tcp:
        assert web.open().status == 101
        for peer in (web, tcp):
            peer.hello()
            big = b"x" * 300_000
            whole = command_frame("echo", big)
            for start in range(0, len(whole), 65536):
                peer.write(whole[start : start + 65536])
            assert peer.wait_for("echo").message == big
        tcp.close()  # nobody reads it, and the server would wait for it to close its end
        with closing_in_a_thread(server, PATIENCE):
            assert web.wait_closed()[0] == 1001


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
def test_unix_sockets_are_served_by_websockets_whatever_the_engine(
    make_web_server: MakeWebServer, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    server = make_web_server(path)
    server.start()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.settimeout(15)
    with HalfUnixPeer(sock) as peer:
        assert peer.open().status == 101
        peer.hello()
        assert peer.ask("echo", "x").message == b"x"


class HalfUnixPeer(WebPeer):
    def __init__(self, sock: socket.socket) -> None:
        with socket.socket() as unused:
            super().__init__(("", 0), unused)
        self.sock = sock

    def __enter__(self) -> HalfUnixPeer:
        return self


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_ipv6(make_web_server: MakeWebServer) -> None:
    server = make_web_server(("::1", 0))
    server.start()
    host = f"[::1]:{server.addr[1]}"
    with WebPeer.in_web(server.addr, Origin=f"http://{host}", Host=host) as peer:
        assert peer.ask("echo", "x").message == b"x"


def test_the_program_learns_what_the_websocket_began_with(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server()

    @server.authenticate
    def authenticate(request: hisock.JoinRequest) -> None:
        http = request.http
        if http is None:
            events.add("tcp")
        else:
            events.add(http.path, http.query, http.cookies, http.headers["x-a"], repr(http))

    server.start()
    with WebPeer(server.addr) as peer:
        peer.open("/room?name=A%20b&x=", ("Cookie", "id=1; theme=dark"), ("X-A", "1"), ("x-a", "2"))
        peer.hello()
        peer.wait_for(lambda got: got.reserved == "CLTCONN")
    with Peer.joined(server.addr):
        pass
    cookies = {"id": "1", "theme": "dark"}
    query = {"name": "A b", "x": ""}
    assert events.seen == [("/room", query, cookies, "1, 2", "<HttpRequest /room>"), ("tcp",)]


def test_it_is_alive_as_long_as_it_answers_keepalives(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server(keepalive_interval=0.1, keepalive_timeout=0.2)
    server.on("leave")(lambda client: events.add("leave", client.name))
    server.start()
    with WebPeer.in_web(server.addr, "Ada") as ada, WebPeer.in_web(server.addr, "Bob") as bob:
        for _ in range(5):
            ada.wait_for(lambda got: got.reserved == "KEEPALIVE")
            ada.reserved("KEEPACK")
        assert bob.wait_closed()[0] == 1001
        assert events.wait_for("leave") == ("leave", "Bob")
        assert ada.ask("echo", "x").message == b"x"


def test_a_goodbye_is_answered(join: Join) -> None:
    peer = join()
    peer.write(frame(b"$USRCLOSE$"))
    assert peer.wait_closed()[0] == 1000


def test_a_client_that_is_behind_is_ended_as_slow(make_web_server: MakeWebServer) -> None:
    server = make_web_server(send_buffer=1_000_000)
    server.start()
    with WebPeer.in_web(server.addr) as slow, WebPeer.in_web(server.addr) as other:
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        whole = command_frame("echo", b"x" * 60_000)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                slow.write(whole)
                if server.stats().ended.get("slow"):
                    break
        other.wait_for(lambda got: got.reserved == "CLTDISCONN")
        assert server.stats().ended["slow"] == 1


def test_a_close_frame_is_answered_after_what_came_before(
    server: hisock.ThreadedHiSockServer, join: Join, events: Events
) -> None:
    server.on("leave")(lambda client: events.add("leave"))
    server.on("note")(lambda client, message: events.add("note", message))
    peer = join()
    peer.say(message(command_frame("note", b"x")) + message(b"\x03\xe8bye", CLOSE))
    assert peer.wait_closed()[0] == 1000
    events.wait_for("leave")
    assert events.seen == [("note", b"x"), ("leave",)]
    assert server.stats().ended == {"eof": 1}


def test_who_vanishes_leaves(
    server: hisock.ThreadedHiSockServer, join: Join, events: Events
) -> None:
    server.on("leave")(lambda client: events.add("leave"))
    join().close()
    events.wait_for("leave")
    join().reset()
    events.wait_for("leave", count=2)
    assert set(server.stats().ended) <= {"eof", "reset", "cut"}
    assert server.stats().connections == 0


def test_close_codes_say_why(make_web_server: MakeWebServer) -> None:
    server = make_web_server(unique_names=True, max_message_size=1000)
    server.on("kick")(lambda client: server.disconnect_client(client))
    server.start()
    with WebPeer.in_web(server.addr, "Ada") as ada:
        with WebPeer(server.addr) as twin:
            twin.open()
            twin.reserved("CLTHELLO", '{"name":"Ada","features":["reject"]}')
            assert twin.read().reserved == "REJECT"
            assert twin.wait_closed() == (4003, "the name 'Ada' is taken")
        with WebPeer.in_web(server.addr) as bad:
            bad.write(b"no header at all")
            assert bad.wait_closed()[0] == 1002
        with WebPeer.in_web(server.addr) as kicked:
            kicked.send("kick")
            assert kicked.read().reserved == "DISCONN"
            assert kicked.wait_closed()[0] == 1000
        with closing_in_a_thread(server, PATIENCE):
            assert [got.reserved for got in ada.rest()][-1:] == ["DISCONN"]
        assert ada.code == 1001


def test_nothing_is_imported_where_no_websocket_is_asked_for() -> None:
    import subprocess

    source = (
        "import sys, hisock; server = hisock.HiSockServer(('127.0.0.1', 0)); server.close();"
        "print([name for name in sys.modules if '_websocket' in name or 'picows' in name])"
    )
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(TypeError, match="WebSocket"):
        hisock.HiSockServer(("127.0.0.1", 0), websocket="yes")  # type: ignore[arg-type]
    wrongs: list[dict[str, Any]] = [
        {"origins": "https://example.org"},
        {"path": "ws"},
        {"max_frame": 10},
        {"trusted_proxies": ["example.org"]},
        {"trusted_proxies": "10.0.0.1"},
        {"engine": "other"},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r".*"):
            hisock.WebSocket(**wrong)
