"""Which requests become a WebSocket, and what the others are answered with."""

from __future__ import annotations

import contextlib
import logging
import urllib.error
import urllib.request
from typing import Any

import pytest
from support import Events
from support.logs import logged
from support.polling import eventually
from support.wire import Closed

import hisock
from hisock._core.http import HttpRequest, WebSocket
from hisock._websocket.closing import close_code, cut
from hisock._websocket.handshake import client_address, judge

from .conftest import MakeWebServer
from .web_peer import WebPeer, request

HOST = ("Host", "game.example.org")


def ruled(
    *fields: tuple[str, str], target: str = "/", closing: bool = False, **options: Any
) -> int:
    return judge(HttpRequest(target, [HOST, *fields]), WebSocket(**options), closing).status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://game.example.org", 101),
        ("http://game.example.org:80", 101),
        ("HTTPS://GAME.EXAMPLE.ORG:443", 101),
        ("https://game.example.org:8443", 403),
        ("https://evil.example", 403),
        ("https://game.example.org.evil.example", 403),
        ("https://evil.example/game.example.org", 403),
        ("https://game.example.org@evil.example", 403),
        ("null", 403),
        ("", 403),
        ("https://[", 403),
    ],
)
def test_pages_of_the_same_host_may_connect_and_no_others(origin: str, status: int) -> None:
    assert ruled(("Origin", origin)) == status


def test_origins_are_those_given() -> None:
    allowed: dict[str, Any] = {"origins": ["https://a.example", "null"]}
    assert ruled(("Origin", "https://a.example"), **allowed) == 101
    assert ruled(("Origin", "null"), **allowed) == 101
    assert ruled(("Origin", "https://game.example.org"), **allowed) == 403
    assert ruled(("Origin", "https://b.example"), origins="*") == 101
    assert ruled(**allowed) == 101  # what is no browser


def test_two_origins_or_two_hosts_are_one_too_many() -> None:
    same = ("Origin", "https://game.example.org")
    assert ruled(same, ("origin", "https://game.example.org")) == 400
    assert ruled(same, ("host", "evil.example")) == 403


def test_the_path_the_subprotocol_and_the_health() -> None:
    assert ruled(target="/ws?x=1", path="/ws") == 101
    assert ruled(target="/other", path="/ws") == 404
    assert ruled(("Sec-WebSocket-Protocol", "chat")) == 400
    assert ruled(("Sec-WebSocket-Protocol", "chat"), ("sec-websocket-protocol", "hisock.v3")) == 101
    assert ruled(target="/health") == 200
    assert ruled(target="/health?probe=1") == 200
    assert ruled(target="/health", health=None) == 101
    assert ruled(target="/up", health="/up") == 200
    assert ruled(target="/health", closing=True) == 503
    assert ruled(closing=True) == 503


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),  # the first is the client's own word
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),  # two proxies
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("203.0.113.9", ["203.0.113.7"], "203.0.113.9"),  # no proxy of ours
        ("unix", ["203.0.113.7"], "unix"),
    ],
)
def test_a_proxy_is_believed_only_if_it_is_trusted(
    peer: str, said: list[str], address: str
) -> None:
    asked = HttpRequest("/", [("X-Forwarded-For", one) for one in said])
    options = WebSocket(trusted_proxies=["10.0.0.0/8"])
    assert client_address(asked, (peer, 5), options) == (address, 5)


def test_a_request_is_read_as_browsers_mean_it() -> None:
    asked = HttpRequest("/a/b?x=1&x=2&y=%20", [("Cookie", "a=1"), ("cookie", 'b="2"'), ("X", "1")])
    assert (asked.path, asked.query) == ("/a/b", {"x": "2", "y": " "})
    assert asked.cookies == {"a": "1", "b": "2"}
    assert asked.headers["cookie"] == 'a=1, b="2"'
    assert HttpRequest("/", [("Cookie", "\x00=;;=")]).cookies == {}
    assert "secret" not in repr(HttpRequest("/?token=secret", [("Cookie", "secret=1")]))


def test_reasons_fit_into_a_close_frame() -> None:
    assert len(cut("ä" * 200).encode()) == 120
    assert cut("x" + "ä" * 200).encode().decode() == "x" + "ä" * 59
    assert close_code("something else") == 1000


def test_health_is_answered_as_http(server: hisock.ThreadedHiSockServer) -> None:
    url = f"http://127.0.0.1:{server.addr[1]}"
    with urllib.request.urlopen(f"{url}/health", timeout=15) as answer:
        assert (answer.status, answer.read()) == (200, b"ok\n")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/index.html", timeout=15)
    assert caught.value.code in (400, 426)  # no WebSocket was asked for
    caught.value.close()


def ask(server: hisock.HiSockServer, data: bytes) -> int | None:
    """The status of the answer; ``None`` where there is none."""
    with WebPeer(server.addr) as peer:
        with contextlib.suppress(OSError):
            peer.say(data)
        try:
            return peer.answer().status
        except Closed:
            return None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Sec_WebSocket_Key": ""}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Upgrade": "h2c"}, (400, 426)),
        ({"Connection": "close"}, (400, 426)),
        ({"Sec_WebSocket_Version": "99"}, (400, 426)),
        ({"Sec_WebSocket_Protocol": "other"}, 400),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_what_is_wrong_is_answered_and_ends(
    server: hisock.ThreadedHiSockServer, change: dict[str, str], status: Any
) -> None:
    got = ask(server, request(**change))
    assert got in (status if isinstance(status, tuple) else (status,))
    assert ask(server, request()) == 101


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GOT / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["POST", "HEAD", "GOT", "100 KB of headers", "an endless path", "a TLS hello"],
)
def test_other_beginnings_are_not_answered(make_web_server: MakeWebServer, data: bytes) -> None:
    server = make_web_server(hello_timeout=1.0)
    server.start()
    assert ask(server, data) is None
    assert ask(server, request()) == 101


@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200, "health"),
        (request(Origin="https://evil.example"), 403, "http"),
        (request(), 101, "protocol"),
    ],
    ids=["health", "refused", "WebSocket"],
)
def test_what_follows_a_request_in_one_packet_is_no_failure_of_the_server(
    server: hisock.ThreadedHiSockServer, asked: bytes, status: int, kind: str
) -> None:
    """As of one that sends several requests at once."""
    with WebPeer(server.addr) as peer, logged("hisock.server", logging.ERROR) as errors:
        peer.say(asked + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        assert peer.answer().status == status
        peer.rest()
        eventually(lambda: server.stats().ended == {kind: 1})
    assert errors.messages == []


@pytest.mark.parametrize(
    "line",
    [b"GET  / HTTP/1.1", b"GET / HTTP/9.9", b"GET /", b"GET / HTTP/1.1\r\n: x", b"GET a b c"],
)
def test_what_is_no_http_is_refused(server: hisock.ThreadedHiSockServer, line: bytes) -> None:
    assert ask(server, line + b"\r\n\r\n") in (400, None)
    assert ask(server, request()) == 101


def test_who_never_ends_its_request_is_ended_in_time(make_web_server: MakeWebServer) -> None:
    server = make_web_server(hello_timeout=0.3)
    server.start()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(WebPeer(server.addr)) for _ in range(3)]
        peers[1].say(request()[:-2])
        assert peers[2].open().status == 101
        for peer in peers:
            peer.rest()
        assert peers[2].code == 1008
    assert server.stats().ended == {"hello": 3}


def test_the_address_that_a_trusted_proxy_says_counts(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server(web={"trusted_proxies": ["127.0.0.1"]}, max_connections_per_ip=1)
    server.on("join")(lambda client: events.add(client.addr[0]))
    server.start()
    with contextlib.ExitStack() as stack:
        for ip in ("203.0.113.1", "203.0.113.2", "203.0.113.3"):
            stack.enter_context(WebPeer.in_web(server.addr, X_Forwarded_For=ip))
        assert events.seen == [("203.0.113.1",), ("203.0.113.2",), ("203.0.113.3",)]
        second = stack.enter_context(WebPeer(server.addr))
        second.open(X_Forwarded_For="203.0.113.2")
        second.hello()
        assert second.wait_closed()[0] == 1013


def test_an_address_is_not_believed_from_others(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server()
    server.on("join")(lambda client: events.add(client.addr[0]))
    server.start()
    with WebPeer.in_web(server.addr, X_Forwarded_For="203.0.113.1"):
        assert events.wait_for("127.0.0.1")
